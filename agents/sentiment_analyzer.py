"""How the customer feels: a lexicon and a few rules of language, no model.

A word has a weight from -4 to 4. What stands around it counts too: negation turns it, intensifiers
strengthen it, the half after a `but` says more than the half before. Situations that make
customers unhappy (waiting on hold, a third call) weigh although no word of feeling is in them.
"""

import re
from typing import Final, Literal

from agents.language import NEGATIONS, calm, listed, negated, pattern, plain, words
from streams import slip
from streams.mailbox import Mesh
from streams.message import Message
from streams.payload import Sentiment

Label = Literal["positive", "neutral", "negative"]
Urgency = Literal["low", "medium", "high", "critical"]

_WEIGHTS: Final[dict[float, str]] = {
    4: "outstanding phenomenal flawless",
    3: """amazing awesome excellent fantastic wonderful superb love loved loving loves best perfect
        perfectly brilliant delighted thrilled incredible fabulous impressed rockstar rockstars
        exceptional lifesaver thx kudos bravo ecstatic grateful""",
    2.5: """thank thanks great happy glad pleased appreciate appreciated appreciation
        beautiful enjoyed enjoying favorite favourite yay woohoo congrats congratulations
        rocks cheers compliments helped saved rocked tysm""",
    2: """good nice enjoy helpful friendly lovely sweet cool fun wow kind pleasant smooth
        smoothly excited exciting efficient courteous satisfied welcoming comfortable classy
        winning stellar quick quickly fast easy gracious outstanding recommend win wonderfully
        hero heroes polite charming yummy delicious professional""",
    1: """fine okay well works resolved solved fixed safe safely
        correct smile welcome impressive super gorgeous understanding upgrade cute neat""",
    -1: """better unfortunate unfortunately should apparently inadequate late wait slow problem "
        "problems issue issues old cold lack
        stop confusing confused unclear concerned concern worried worry sorry seriously
        weird stuck unable why expensive tired anymore already still complicated
        costs missing miss error errors
        only least actually instead guess excuse attempt supposed supposedly apparently
        changed hung""",
    -1.5: """wrong difficult waiting waited sad cancelled canceled cancelling hold hours hour
        missed never delay delays delayed unresponsive unavailable
        broken damaged ignored ignoring fail failed fails failing incorrect disconnected
        stranded lost denied declined dropped rebooked overcharged charged
        inconvenience inconvenient inconvenienced stolen hassle nobody nothing trouble
        excuses dirty crazy overbooked misplaced disrespectful rerouted complain
        complaint complaints complained defective faulty torn cracked leaking useless
        cheated ruining bumped sitting""",
    -2.5: """bad poor poorly unhappy annoying annoyed frustrated frustrating frustration
        disappointed disappointing disappointment disappoint upset angry mad hate hated
        unacceptable rude mess nightmare ruined fraud scam lied lies lying
        liar liars unprofessional incompetent incompetence clueless crap suck sucks sucked
        sucky ridiculous ridiculously fuming sick disgusted screwed
        stupid dumb lame shame shameful wtf smh ugh fed shitty damn damned
        pissed hell sue suing lawyer lawsuit worse rudest trash blows asshole assholes negligent
        homeless reeks wasted waste unreliable embarrassing insulting
        unhelpful dishonest bullshit bs furious livid screw fuck fucking fucked shit
        blame misleading misled thieves robbed unreal inexcusable mistreated""",
    -3.5: """terrible horrible awful worst disgusting pathetic atrocious appalling outrageous
        abysmal horrendous horrid horrific dreadful disgrace disgraceful despicable garbage
        disaster deplorable hateful outraged infuriating infuriated enraged""",
}
WEIGHTS: Final = {word: weight for weight, block in _WEIGHTS.items() for word in block.split()}

# Words of people who tell what happened to them and what was said: a report without praise is, in
# a support chat, most often a grievance. Each weighs little, and all together not much.
REPORT: Final = listed(
    """was were had been being said says told tell called calling customer customers agent agents
    crew staff employee employees manager phone line claim gate because your you're even people
    money someone put just them they then than but that really now one all should left tried
    trying explain understand care already person call anything something"""
)
REPORT_WEIGHT: Final = -0.3
REPORT_LIMIT: Final = -2.4

# Weighed as a whole; their words are not weighed again.
_PHRASES: Final[tuple[tuple[float, str], ...]] = (
    # Questions about times are questions.
    (
        0,
        r"(?:opening|business|working|office|store|shop|support|your|what) hours|"
        r"hours of operation|"
        r"how long (?:does|do|will|would|is|are) (?:\w+ ){0,3}?(?:shipping|delivery|deliveries|"
        r"returns?|refunds?|exchanges?|it (?:usually|normally)|warranty|battery)(?: \w+)? ?"
        r"(?:take|last|usually)?",
    ),
    (-2.5, r"(?:is|are|was|what|such|complete|total|absolute) (?:an? )?(?:\w+ )?joke|joke of an?"),
    (-3, r"never (?:again|flying|buying|ordering|using)|last time i|done with (?:you|this)"),
    (-3, r"(?:waste|wasting) of (?:time|money)|want my money back|fed up|sick of|tired of"),
    (-3, r"no (?:one|body) (?:\w+ ){0,3}(?:help|helps|helped|answer|answers|answered|cares?)"),
    (-2.5, r"(?:on|placed on) hold|hung up|hang up|hangs up|(?:put|keep|kept|been) on hold"),
    (
        -2.5,
        r"(?:no|not|never|without|zero|still no|any) (?:a )?(?:reply|response|answer|help|word|"
        r"explanation|communication|apology|update|updates|info|information)",
    ),
    (
        -2.5,
        r"(?:(?:two|three|four|five|six|seven|eight|nine|ten|several|many|\d+)\+?"
        r"(?: and a half)?|couple(?: of)?|few) ?(?:hours?|hrs?|days?|weeks?|months?)"
        r"(?: (?:ago|late|now|already|later|delay|wait|and counting))?",
    ),
    (-2.5, r"(?:second|third|fourth|fifth|[2-9](?:nd|rd|th)|umpteenth) (?:time|call|attempt|day)"),
    (-2.5, r"customer service (?:is|was) (?:non ?existent|lacking|a joke)|how hard is it"),
    (-2, r"(?:still|been) (?:waiting|stuck|trying|sitting|no)|keep(?:s)? (?:getting|saying)"),
    (
        -2,
        r"(?:can't|cannot|can not|couldn't|won't|doesn't|didn't|isn't|not|never|nor) "
        r"(?:even |ever |actually |be |get |been |let me |able to )*(?:work|working|worked|arrive|"
        r"arrived|come|came|show|showed|get|got|receive|received|answer|respond|deliver|delivered|"
        r"find|fix|help|helping|helpful|reach|speak|talk|through|allow|notified|told|"
        r"call|contact|check|reset|change|rebook|book|refund)",
    ),
    (-2, r"what the|are you kidding|kidding me|you guys? (?:are|have) (?:the )?worst|come on"),
    (
        -2,
        r"thanks? for (?:nothing|losing|ruining|the (?:delay|wait|lack)|cancel\w+|delay\w+|"
        r"not|making (?:me|us) (?:miss|wait)|wasting|leaving|keeping)",
    ),
    (
        -2,
        r"do(?:es)?n't care|lack of|should (?:have|not)|shouldn't (?:have|be)|"
        r"not (?:ok|okay|cool|right|acceptable|happy|good|impressed)",
    ),
    (
        -1.5,
        r"how (?:long|much longer|many (?:times|more))|why (?:is|are|does|do|did|can't|isn't|"
        r"won't|would|was|has|am)|what's going on|where is (?:my|the)|no longer|nowhere",
    ),
    (
        2.5,
        r"(?:thank|thanks) (?:you|u|so much|a lot|for)|(?:shout ?out|hats off|props) to|"
        r"made my (?:day|night|week)|great (?:job|service|flight|crew|experience)|good (?:job|"
        r"work)|"
        r"well done|(?:can't|cannot) wait|look(?:ing)? forward|keep (?:it )?up|big fan|way to go|"
        r"no problems?|no issues?|no complaints?|not bad|you (?:guys )?rock|much appreciated",
    ),
    (1.5, r"(?:so|very|super|really|extremely) (?:helpful|kind|nice|friendly|fast|quick)"),
    (
        0,
        r"no worries|good (?:morning|afternoon|evening)|please help|hi there|as well|"
        r"like to|would love to|love to (?:get|know|have|see)|best (?:way|time|regards)|nice day|"
        r"well as|thank you in advance|thanks in advance|could you|better (?:way|price)",
    ),
)
PHRASES: Final = tuple((weight, pattern(text)) for weight, text in _PHRASES)

# A greeting of praise over a bad event is not praise.
SARCASM: Final = (
    pattern(
        r"(?:oh |well |wow )?(?:great|nice|awesome|wonderful|perfect|fantastic|lovely|brilliant|"
        r"thanks|love it|(?:good|nice|great) job|way to go|congrats|bravo)\W+"
        r"(?:just what i needed\W+)?"
        r"(?:yet )?(?:another|more|still|now|again|(?:the|my|your) \w+ (?:is|are|was) (?:late|"
        r"delayed|cancelled|canceled|broken|lost))"
    ),
    pattern(r"thanks (?:for nothing|a lot for (?:nothing|the delay))", r"gee thanks", r"slow clap"),
    pattern(r"(?:love|loving) (?:how|when|that) (?:you|they|your|my|it|i|the)", r"great job with"),
    pattern(r"(?:so|real|very) (?:helpful|professional|nice) of you (?:to|not)", r"yeah right"),
)
BAD_EVENT: Final = pattern(
    r"delay\w*", r"late", r"lost", r"cancel\w*", r"broken", r"wait(?:ing|ed)?", r"on hold",
    r"damaged", r"missing", r"wrong", r"again", r"fail\w*", r"hours?", r"never", r"no one",
    r"nobody", r"not", r"nothing", r"still", r"no", r"another", r"ignor\w+", r"stuck", r"error",
)  # fmt: skip

_STRONGER: Final = listed(
    """very really so soo extremely absolutely totally completely utterly incredibly super beyond
    truly seriously highly fucking freaking damn such way too"""
)
_WEAKER: Final = listed("somewhat slightly bit little kinda sorta fairly rather")
INTENSIFIERS: Final = dict.fromkeys(_STRONGER, 1.35) | dict.fromkeys(_WEAKER, 0.7)
CONTRAST: Final = frozenset({"but", "however", "although", "except", "yet", "unfortunately"})

_FACES: Final = (
    (2.5, re.compile(r"(?::|;|=)-?[)D\]]|<3|\^_?\^|\(:")),
    (-2.0, re.compile(r"(?<!\w)(?::|;|=)'?-?[(\[/|]|\)-?:|>:\(|:-?\\|-_+-|D:")),
    (2.5, re.compile("[\u2764\u2665\U0001f600-\U0001f60d\U0001f60e\U0001f618\U0001f617\U0001f619"
                     "\U0001f61a\U0001f642\U0001f44d\U0001f44f\U0001f64c\U0001f389\U0001f38a"
                     "\U0001f495-\U0001f49f\U0001f64f\U0001f970\U0001f929\u263a\u2728\U0001f4af]")),
    (-2.5, re.compile("[\U0001f612-\U0001f616\U0001f61e-\U0001f62b\U0001f62d\U0001f62f-\U0001f631"
                      "\U0001f44e\U0001f641\u2639\U0001f644\U0001f92c\U0001f4a9\U0001f621"
                      "\U0001f494\U0001f926\U0001f643]")),
)  # fmt: skip

QUESTION: Final = pattern(
    r"(?:can|could|would|will|do|does|did|is|are|may|should|have|has) (?:i|you|we|u|there|it|the|"
    r"this|that|my|your|they|anyone)",
    r"how (?:do|can|does|would|should|to)", r"what(?:'s| is| are| time| do)?", r"when (?:is|will|"
    r"are|do|does|can)", r"which", r"who", r"i (?:need|want|would like|'d like) (?:to|a|an|some)",
    r"please", r"any (?:chance|update|idea|way)", r"looking for", r"question",
)  # fmt: skip

URGENT: Final = pattern(
    r"urgent(?:ly)?", r"asap", r"a\.s\.a\.p", r"immediate(?:ly)?", r"right (?:now|away)",
    r"emergency", r"as soon as possible", r"at once", r"this (?:instant|minute|second)",
    r"time[- ]sensitive", r"can(?:'t|not) wait (?:any|much) ?(?:more|longer)", r"hurry", r"quickly",
    r"desperate(?:ly)?", r"running out of time", r"critical", r"straight ?away",
)  # fmt: skip
DEADLINE: Final = pattern(
    r"(?:by|before|need(?: it| this| them)?(?: for)?|until|due|leaving|leave|starts?) "
    r"(?:(?:the )?end of (?:the )?(?:day|week)|today|tonight|tomorrow|noon|midnight|this \w+|next "
    r"\w+|(?:mon|tues|wednes|thurs|fri|satur|sun)day|christmas|\d{1,2}(?::\d\d)? ?(?:am|pm)|"
    r"\d{1,2}/\d{1,2})",
    r"wedding", r"funeral", r"birthday", r"medicine", r"medication", r"surgery", r"deadline",
    r"in (?:an|one|two|a few|\d+) (?:hours?|minutes?)", r"last (?:day|chance)",
)  # fmt: skip
DANGER: Final = pattern(
    r"emergency", r"life or death", r"(?:caught|on) fire", r"(?:is|are|was|started) (?:smoking|"
    r"burning)", r"electric shock", r"injur(?:ed|y)", r"hospital", r"allergic reaction", r"unsafe",
    r"fraud(?:ulent)?", r"stolen", r"hacked", r"identity theft", r"unauthori[sz]ed",
    r"kill (?:myself|me)", r"suicid\w+", r"hurt myself",
)  # fmt: skip
REPEATED: Final = pattern(
    r"(?:second|third|fourth|fifth|[2-9](?:nd|rd|th)|umpteenth|nth|last) (?:time|call|email|"
    r"message|request|attempt)", r"(?:again and again|over and over|once again|yet again|"
    r"still (?:waiting|no|not|haven't|hasn't))", r"(?:called|emailed|written|wrote|asked|contacted|"
    r"told) (?:you |them )?(?:\w+ )?(?:twice|\w+ times|already|before)", r"for (?:days|weeks|"
    r"months|hours)", r"keeps? (?:happening|getting)", r"no (?:reply|response|answer)",
)  # fmt: skip
COMPLAINT: Final = pattern(
    r"complain(?:t|ts|ing|ed)?", r"unacceptable", r"terrible", r"horrible", r"awful", r"worst",
    r"disgrace(?:ful)?", r"ridiculous", r"disappoint(?:ed|ing|ment)", r"pathetic",
    r"(?:is|are|was|what|such|complete|total|absolute) (?:an? )?(?:\w+ )?joke", r"joke of an?",
    r"poor (?:service|quality|experience|customer)", r"bad (?:service|experience|quality)",
    r"not (?:happy|satisfied|acceptable|good enough|impressed)", r"unhappy", r"dissatisf\w+",
    r"fed up", r"sick (?:and tired )?of", r"rip ?-?off", r"scam(?:med|mers?)?", r"let down",
    r"never (?:again|order\w* again|buy\w* again|shop\w* again)", r"waste of (?:time|money)",
    r"damaged", r"defective", r"broken", r"rude", r"useless", r"incompetent", r"unprofessional",
    r"this is (?:outrageous|insane|crazy|shocking|absurd|not ok(?:ay)?)", r"furious", r"livid",
    r"angry", r"outraged", r"frustrat(?:ed|ing|ion)", r"how (?:dare|hard is it)", r"sucks?",
)  # fmt: skip
ESCALATION: Final = pattern(
    r"(?:speak|talk|chat|connect(?: me)?|transfer(?: me)?|put me through|get me|pass me|escalate)"
    r" (?:\w+ ){0,3}(?:human|person|agent|manager|supervisor|representative|rep|someone|somebody|"
    r"boss|operator|superior)",
    r"(?:a|your|the) (?:manager|supervisor|superior|boss)", r"real (?:person|human|agent)",
    r"escalat(?:e|ed|ing|ion)", r"lawyers?", r"attorney", r"solicitor", r"sue", r"suing", r"sued",
    r"lawsuit", r"legal (?:action|advice|proceedings|team|counsel)", r"take you to court",
    r"small claims", r"(?:in|to) court", r"better business bureau", r"bbb", r"trading standards",
    r"consumer (?:protection|rights|affairs|watchdog|council)", r"ombudsman", r"ftc",
    r"attorney general", r"charge ?-?backs?", r"dispute (?:it|this|the charge)? ?with my bank",
    r"police", r"report(?:ing)? you(?: to)?", r"go(?:ing)? public", r"(?:post|share|tell|put) "
    r"(?:\w+ ){0,4}(?:on|over|all over) (?:twitter|x|facebook|social media|instagram|tiktok|"
    r"reddit|yelp|trustpilot)", r"(?:contact|call|tell|go to) the (?:press|media|news(?:paper)?)",
    r"cancel my account", r"(?:one|1) star", r"negative review", r"formal complaint",
)  # fmt: skip

EMOTIONS: Final = {
    "anger": pattern(
        r"angry", r"furious", r"livid", r"outrag\w+", r"mad", r"hate", r"pissed", r"disgust\w*",
        r"unacceptable", r"how dare", r"rude", r"fuck\w*", r"bullshit", r"hell", r"enraged",
        r"infuriat\w+", r"ridiculous", r"disgrace\w*", r"sick of",
    ),
    "frustration": pattern(
        r"frustrat\w+", r"annoy\w+", r"fed up", r"tired of", r"again and again", r"still (?:no|not|"
        r"waiting|haven't|hasn't)", r"ugh", r"(?:third|fourth|fifth|\d+th) time", r"on hold",
        r"keeps? (?:happening|failing)", r"smh", r"over and over", r"waste of (?:time|money)",
        r"going in circles",
    ),
    "disappointment": pattern(
        r"disappoint\w+", r"let (?:me )?down", r"expected (?:better|more)", r"used to (?:be|love)",
        r"sad(?:ly)?", r"unhappy", r"not (?:what i|as) (?:ordered|expected|described)",
    ),
    "worry": pattern(
        r"worr(?:y|ied|ying)", r"concern(?:ed)?", r"anxious", r"nervous", r"afraid", r"scared",
        r"hope it'?s not lost", r"fraud(?:ulent)?", r"stolen", r"hacked", r"panic\w*", r"stressed",
    ),
    "confusion": pattern(
        r"confus\w+", r"don't understand", r"do not understand", r"unclear", r"makes? no sense",
        r"not sure (?:how|what|why|if)", r"what does (?:this|that|it) mean", r"lost me",
    ),
    "gratitude": pattern(
        r"thank(?:s| you| u)?", r"grateful", r"appreciate\w*", r"thx", r"tysm", r"cheers",
    ),
    "joy": pattern(
        r"happy", r"love(?:d|ly)?", r"delighted", r"thrilled", r"amazing", r"awesome", r"excited",
        r"fantastic", r"wonderful", r"yay", r"excellent", r"perfect",
    ),
}  # fmt: skip

_CLAUSE: Final = re.compile(r"[.!?;:\n]+|,\s|\s-\s")
_HANDLE: Final = re.compile(r"[@#](\w+)")
_LINK: Final = re.compile(r"https?://\S+|<\w+>|www\.\S+")
_SHOUT: Final = re.compile(r"\b[A-Z]{4,}\b")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")

POSITIVE_FROM: Final = 0.3
NEGATIVE_FROM: Final = -0.17
QUESTION_MARGIN: Final = 0.27


def _hashtag(match: re.Match[str]) -> str:
    """A mention is a name and says nothing; the words of a hashtag do."""
    return "" if match[0][0] == "@" else _CAMEL.sub(" ", match[1])


def analyze(text: str) -> Sentiment:
    """Return what the text shows of the customer's mood. Pure, and never raises."""
    cleaned = _LINK.sub(" ", _HANDLE.sub(_hashtag, text))
    low = plain(cleaned)
    total, cues = _weigh(low)
    for weight, face in _FACES:
        if found := face.findall(cleaned):
            total += weight * min(len(found), 2)
            cues.append(found[0])
    sarcastic = _sarcasm(low)
    if sarcastic:
        total = -abs(total) - 2
        cues.append(sarcastic)
    shouting = bool(_SHOUT.search(cleaned)) and sum(map(str.isupper, cleaned)) > 8
    total *= 1 + 0.08 * min(cleaned.count("!"), 3) + 0.15 * shouting
    score = round(total / (total * total + 12) ** 0.5, 3) + 0.0  # + 0.0: no negative zero
    label: Label = "neutral"
    # A question asks; mild words in it ("is there a problem if …") are not yet a mood.
    asks = bool("?" in cleaned and QUESTION.search(low))
    if score >= POSITIVE_FROM + QUESTION_MARGIN * asks:
        label = "positive"
    elif score <= NEGATIVE_FROM - QUESTION_MARGIN * asks:
        label = "negative"
    complaint = _unless_denied(COMPLAINT, low)
    escalation = _unless_denied(ESCALATION, low)
    cues += [cue for cue in (complaint, escalation) if cue and cue not in cues]
    return Sentiment(
        label=label,
        score=score,
        emotions=[name for name, signs in EMOTIONS.items() if _unless_denied(signs, low)]
        if not sarcastic
        else ["frustration"],
        urgency=_urgency(low, score, shouting=shouting, escalation=bool(escalation)),
        complaint=bool(complaint) or bool(sarcastic),
        escalation=bool(escalation),
        cues=cues[:12],
    )


def _weigh(low: str) -> tuple[float, list[str]]:
    """Return the sum of all weights found, and the words they came from."""
    total = 0.0
    cues: list[str] = []
    for weight, phrase in PHRASES:
        low, found = _take(low, phrase)
        if found:
            # What is said twice is not twice as bad.
            total += weight * (1 + 0.25 * (len(found) - 1))
            if weight:
                cues += found[:2]
    report = 0.0
    for clause in _CLAUSE.split(low):
        tokens = words(clause)
        turn = next((i for i in range(len(tokens) - 1, -1, -1) if tokens[i] in CONTRAST), -1)
        refusals, turned = sum(token in NEGATIONS for token in tokens), 0
        for index, token in enumerate(tokens):
            report += REPORT_WEIGHT * (token in REPORT)
            weight = WEIGHTS.get(token) or WEIGHTS.get(calm(token)) or 0.0
            if not weight:
                continue
            if negated(tokens, index):
                turned += 1
                weight *= -0.75 if weight > 0 else -0.2
            else:
                weight *= INTENSIFIERS.get(tokens[index - 1], 1) if index else 1
            if turn >= 0:
                weight *= 0.6 if index < turn else 1.2
            total += weight
            cues.append(token)
        if len(tokens) > 2:
            # Refusals are the stuff of complaints: each that turned no other word weighs a little.
            total -= 0.8 * max(refusals - turned, 0)
    return total + max(report, REPORT_LIMIT), cues


def _take(low: str, phrase: re.Pattern[str]) -> tuple[str, list[str]]:
    """Return the text without the phrase, and what was taken out."""
    found = [match[0] for match in phrase.finditer(low)]
    return (phrase.sub(" ; ", low), found) if found else (low, found)


def _sarcasm(low: str) -> str | None:
    for sign in SARCASM:
        if (match := sign.search(low)) and BAD_EVENT.search(low):
            return match[0]
    return None


def _unless_denied(signs: re.Pattern[str], low: str) -> str | None:
    """Return the first sign that is not negated, as in `I do not want to complain`."""
    for match in signs.finditer(low):
        before = words(low[max(0, match.start() - 40) : match.start()])
        if not negated([*before, ""], len(before), reach=4) or match[0].startswith(("not", "no ")):
            return match[0]
    return None


def _urgency(low: str, score: float, *, shouting: bool, escalation: bool) -> Urgency:
    urgent = len(set(URGENT.findall(low)))
    deadline = bool(DEADLINE.search(low))
    repeated = bool(REPEATED.search(low))
    danger = bool(DANGER.search(low))
    points = 2 * min(urgent, 2) + 2 * deadline + repeated + 3 * danger + 2 * escalation + shouting
    points += (score < -0.5) + (score < -0.85)
    if points >= 5:
        return "critical"
    if points >= 3 or urgent:
        return "high"
    return "medium" if points else "low"


def setup(mesh: Mesh) -> None:
    """Give the sentiment analyzer its mailbox."""

    @mesh.actor(slip.SENTIMENT_ANALYZER)
    async def sentiment_analyzer(message: Message) -> Message:
        message.payload.sentiment = analyze(message.payload.text)
        return message
