import asyncio, os, random, signal, time
import pytest
from mocks.servers import NatsCluster, NatsServer
from .conftest import feeding, until
SECONDS = float(os.environ.get("CHAOS", "90"))
pytestmark = pytest.mark.timeout(900)

@pytest.mark.parametrize("seed", [int(s) for s in os.environ.get("SEEDS", "1 2").split()])
@pytest.mark.parametrize("kind", os.environ.get("KINDS", "single cluster").split())
async def test_chaos(tmp_path, prefix, start_worker, seed, kind):
    rnd = random.Random(seed)
    single = kind == "single"
    server = NatsServer(tmp_path / "s") if single else NatsCluster(tmp_path / "c")
    options = "" if single else "&replicas=3"
    with server:
        async with feeding(server.url, prefix, replicas=1 if single else 3) as feed:
            def new(name): return start_worker(server.url, DATA=name, SESSION="3", OPTIONS=options, STORE=rnd.choice(["memory://","rocksdb://"]), CONCURRENCY=rnd.choice("12"))
            n = 0
            workers = {}
            for name in "ab":
                workers[name] = new(f"{name}{n}")
            end = time.monotonic() + SECONDS
            stop = False
            async def send():
                while not stop:
                    await feed.send(20)
                    await asyncio.sleep(0.1)
            sending = asyncio.create_task(send())
            while time.monotonic() < end:
                await asyncio.sleep(rnd.uniform(0.1, 3))
                what = rnd.choice(["pause", "kill", "restart", "wkill", "wstop", "wterm"])
                name = rnd.choice("ab")
                node = server if single else rnd.choice(server.nodes)
                print("CHAOS", round(end - time.monotonic(), 1), what, name, flush=True)
                if what == "pause":
                    node.pause(); await asyncio.sleep(rnd.choice([0.5, 2, 4, 9])); node.resume()
                elif what == "kill":
                    node.kill(); await asyncio.sleep(rnd.choice([0, 0, 1, 5])); await asyncio.to_thread(node.start)
                elif what == "restart":
                    await asyncio.to_thread(node.stop); await asyncio.to_thread(node.start)
                elif what == "wkill":
                    workers[name].kill(); n += 1; workers[name] = new(f"{name}{n}")
                elif what == "wstop":
                    workers[name].send(signal.SIGSTOP); await asyncio.sleep(rnd.choice([0.5, 2, 5])); workers[name].send(signal.SIGCONT)
                elif what == "wterm":
                    workers[name].process.terminate(); rc = await asyncio.to_thread(workers[name].process.wait, 60)
                    print("CHAOS exit", rc, workers[name].log, flush=True)
                    n += 1; workers[name] = new(f"{name}{n}")
                for w in workers.values():
                    assert w.process.poll() is None, f"died: {w.log}"
                if not single:
                    await asyncio.to_thread(server.wait_healthy, 60)
            stop = True
            await sending
            print("CHAOS sent", feed.sent, await feed.count("third"), flush=True)
            try:
                await feed.check()
            except BaseException as e:
                print("CHAOS FAIL", type(e), str(e)[:300], {t: await feed.count(t) for t in ("first","second","third","chain-seen-changelog")}, flush=True)
                raise
            for w in workers.values():
                assert w.stop() == 0, w.log
