// The connection: a WebSocket that comes back by itself.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const PING_EVERY = 20_000;
const ANSWER_WITHIN = 10_000;
const RETRY_HELLO = 2_000;

/** Keep a socket open. `hello()` returns the first frame; `heard(frame)` gets all that come. */
export class Link {
  #socket = null;
  #timer = null; // the next try, or the next ping
  #wait = FIRST_WAIT;
  #stopped = false;
  #silence = null;

  constructor({ hello, heard, state }) {
    this.hello = hello;
    this.heard = heard;
    this.state = state;
    this.welcome = false;
    const now = () => this.#soon();
    addEventListener("online", now);
    document.addEventListener("visibilitychange", () => document.hidden || now());
  }

  /** Connect, and from now on connect again whenever the connection is lost. */
  start() {
    this.#stopped = false;
    this.#connect();
  }

  /** Close for good. */
  stop() {
    this.#stopped = true;
    this.welcome = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Send a frame; false if there is no connection to send it on. */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Say hello again on the open socket, such as with a new token. */
  greet() {
    this.send(this.hello());
    this.#expectAnswer();
  }

  /** Give this socket up and take a new one. */
  renew() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#lost();
  }

  #connect() {
    clearTimeout(this.#timer);
    const address = new URL("ws", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#expectAnswer();
    socket.addEventListener("open", () => socket === this.#socket && this.greet());
    socket.addEventListener("message", (event) => socket === this.#socket && this.#hear(event));
    socket.addEventListener("close", () => socket === this.#socket && this.#lost());
  }

  #hear(event) {
    clearTimeout(this.#silence);
    const frame = JSON.parse(event.data);
    if (frame.type === "welcome") {
      this.welcome = true;
      this.#wait = FIRST_WAIT;
      this.#ping();
      this.state("open");
    } else if (frame.type === "error" && frame.code === "unavailable" && !this.welcome) {
      this.state("away");
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.greet(), RETRY_HELLO);
    }
    if (frame.type !== "pong") this.heard(frame);
  }

  #ping() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.send({ type: "ping" })) this.#expectAnswer();
      this.#ping();
    }, PING_EVERY);
  }

  /** A connection can be dead without anybody having said so: then nothing answers. */
  #expectAnswer() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.renew(), ANSWER_WITHIN);
  }

  #lost() {
    this.welcome = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    if (this.#stopped) return;
    this.#socket = null;
    this.state("lost");
    // Spread out: after a restart of the server not all pages come back in the same instant.
    this.#timer = setTimeout(() => this.#connect(), this.#wait * (0.7 + Math.random() * 0.6));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  #soon() {
    if (this.#stopped || this.#socket) return;
    this.#wait = FIRST_WAIT;
    this.#connect();
  }
}
