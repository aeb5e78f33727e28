"""The words and shapes that the guardrail looks for. WARNING: slurs stand here, to be recognised.

All patterns are for plain text (`agents.language.plain`) and match whole words.
"""

import re
from typing import Final

from agents.language import pattern

# --- attempts to talk the bot into something ------------------------------------------------

# One of these is enough.
INJECTION: Final = pattern(
    r"(?:ignore|ignoring|disregard|forget|override|overlook|bypass|neglect|set aside|discard|skip)"
    r" (?:\w+ ){0,4}(?:previous|prior|above|earlier|preceding|initial|original|former|existing|"
    r"system|safety|your|all|these|those|any|every|following|safeguards?|security)"
    r" ?(?:\w+ ){0,3}(?:instructions?|prompts?|rules?|guidelines?|directions?|directives?|"
    r"commands?|orders given|programming|training|restrictions?|messages?|constraints?|policies|"
    r"protocols?|told|said|context|information|steps|safeguards?|limitations?)",
    r"(?:ignore|disregard|forget|overlook) (?:all |everything )?(?:that |what |of )*(?:you(?:'ve| "
    r"have| were| are|'re)?|i(?:'ve| have)?|we(?:'ve)?|came|was) (?:\w+ ){0,2}(?:been )?(?:told|"
    r"instructed|said|before|given|learned|read|above|taught)",
    r"(?:ignore|disregard|forget) (?:the |all |everything )?(?:above|previous|prior|that|about "
    r"that|"
    r"that and|everything)(?: and|,)? (?:above|before|please|instead|just|only|tell|say|give|"
    r"write|print|reveal|output|can you|do)",
    r"(?:reveal|show|print|repeat|output|display|disclose|give|tell|share|leak|translate|encode|"
    r"summari[sz]e|write|recite|dump|expose|provide|list|return|read|describe|explain|state|"
    r"confirm|spell|decode|hint|bypass|guess|what(?:'s| is| was| are| were)) (?:\w+ ){0,"
    r"6}(?:system "
    r"prompt|system message|(?:initial|original|starting|hidden|secret|system|internal|previous|"
    r"given|your|earlier|first|above) (?:\w+ )?(?:instructions?|prompts?|configuration|guidelines?|"
    r"directives?|rules|text|password|passcode|key)|secret (?:key|password|code|word|phrase)|"
    r"prompt you|instructions? you|text (?:you were|above)|above text|access codes?)",
    r"(?:repeat|copy|print|encode|translate|output|rewrite|spell|show me) (?:\w+ ){0,3}(?:text|"
    r"words|"
    r"everything|content|message|lines?) (?:\w+ ){0,2}(?:above|you were given|before this|"
    r"verbatim|initially)",
    r"what(?:'s| is| are) the (?:password|secret|key|access code|passphrase|opposite of your)",
    r"(?:the|your|our|system'?s?) (?:\w+ )?(?:password|passphrase|secret key|api key|private key) "
    r"(?:for|to|of|in|with|backwards?|reversed?|as|is|using|but|please|now)(?: the| our| this| a)? "
    r"?(?:system|server|database|admin|poem|reverse|morse|rot13|base ?64|hex|letters?|story|song|"
    r"json|format|\w+ ?code)",
    r"(?:write|tell|make|create|compose|give) (?:me )?(?:a|an) (?:poem|story|song|riddle|haiku|"
    r"acrostic|rhyme|joke|limerick|hint) (?:\w+ ){0,5}(?:password|passphrase|secret|key)",
    r"(?:base ?64|rot ?13|morse code|caesar cipher|hexadecimal|leetspeak|pig latin|binary)",
    r"(?:you are|you're|you will be|you shall be) (?:now |going to |from now on |no longer |"
    r"about to "
    r"|henceforth )+(?:\w+ ){0,4}(?:act|pretend|be|play|called|dan|free|unrestricted|unfiltered|a|"
    r"an|in|the|bound|my|evil|known|acting|named|chatgpt|gpt|operating|simulat\w+)",
    r"from now on,? (?:you|your|act|answer|respond|reply|i want|please|every|always)",
    r"(?:pretend|act|behave|respond|answer|speak|roleplay|role-play|imagine|simulate|talk|write|"
    r"impersonate)(?:ing)? (?:\w+ ){0,3}(?:as if you|as though you|to be|like you|that you(?:'re| "
    r"are)|you are|you're|as an? (?:ai|unfiltered|evil|amoral|unrestricted|"
    r"expert|assistant|character|dungeon|linux|terminal|hacker|\w+ ?gpt|fictional)|as dan)",
    r"do anything now", r"dan mode", r"developer mode", r"jail ?broken?", r"jailbreak\w*",
    r"(?:maintenance|debug|god|admin|sudo|opposite|evil|unrestricted|anarchy|chaos) mode",
    r"stay in character", r"(?:break|breaking|leave|out of) character", r"in character",
    r"(?:without|no|have no|free (?:from|of)|remove|lacks?|ignor\w+) (?:any |all |the )?(?:moral|"
    r"ethical|legal|content|safety|openai|filter|censorship|restrictions?|limitations?|"
    r"guidelines?|morals?|ethics|filters|rules or)(?: or \w+)?(?: \w+){0,2}"
    r" ?(?:restrictions?|guidelines?|filters?|limits|boundaries|constraints|policy|policies|"
    r"limitations?|principles|standards|concerns)",
    r"unfiltered", r"uncensored", r"amoral", r"immoral", r"openai", r"chat ?gpt", r"language model",
    r"as an ai", r"prompt injection", r"system (?:prompt|override|message|configuration)",
    r"\[?insert (?:your )?(?:prompt|question|text|request) here\]?", r"llm", r"gpt-?[345]",
    r"(?:starting|initial|original|hidden|secret) (?:instructions?|prompt|directives?)",
    r"your (?:instructions?|programming|guidelines|initial prompt|directives?|prompt)",
    r"(?:i am|i'm|as|this is) (?:your|the|an?) (?:\w+ )?(?:developer|admin|administrator|creator|"
    r"programmer|engineer|system owner)(?: debugging| of this| here| and i| testing)",
    r"(?:ignorieren|vergiss|vergessen|ignora|ignorez|oubliez|olvida|ignoriere|ignorez|"
    r"negeer|zignoruj|glem|dimentica|ignorar|unohda) (?:\w+ ){0,5}(?:\w+)",
    r"(?:passwort|contrase\u00f1a|mot de passe|senha|wachtwoord|"
    r"\u043f\u0430\u0440\u043e\u043b\u044c)",
    # Other people's data is nobody's to ask for.
    r"(?:what(?:'s| is| are)|tell me|give me|reveal|show me|confirm|know|spell|share|list) (?:\w+ "
    r"){0,4}(?:(?!(?:it|that|what|there|here|who|he|she|let|order|item|product)'s)\w+'s|his|her|"
    r"their|users?|customers?|of (?:all|other|another|the) (?:users?|customers?|people|person)) "
    r"(?:\w+ )"
    r"{0,2}(?:passwords?|e-?mails?|phone|home address|birth ?date|date of birth|bank|account "
    r"balance|initials|ssn|social security|credit card|medical|private|personal|secret)",
    r"where does \w+ \w+ live", r"(?:confirm|know|share|tell|asking|thinking about|say) (?:\w+ "
    r"){0,6}"
    r"passwords? (?:for|to) (?:our|the|this|your) (?:system|server|database)",
    r"act like (?:an?|you)", r"respond with the opposite", r"opposite of what (?:the user|i)",
    r"role ?-?play(?:ing)? (?:as|game|bot|gpt|with me|scenario)", r"hypothetical (?:response|story|"
    r"scenario|world)", r"text adventure", r"phishing", r"malware", r"keylogger", r"ransomware",
)  # fmt: skip

# A forwarded mail or page that ends with something to do for the one who reads it to us.
FORWARDED: Final = re.compile(
    r"(?:^|\n)\s*(?:subject:|email_from:|received date:)|reply to this e-?mail|unsubscribe|sent "
    r"with"
    r" care|you are receiving (?:this|notifications)|privacy policy|sincerely|best regards|<html",
)
TASK: Final = pattern(
    r"(?:modify|change|alter|add|include|insert|append|use|replace|scramble|rearrange|convert|"
    r"group|"
    r"translate|write|integrate|incorporate|embed|augment|adjust|reverse|encode|rephrase|present|"
    r"craft|embellish|rewrite|randomly|substitute|swap|mix|shuffle|suggest|structure|provide|"
    r"compose|create|develop|generate|describe|explain|summari[sz]e|recommend|draft|design|list|"
    r"name|give|tell|who|what(?:'s)?|how|why|when|which|in your|reword|introduce|express|direct|"
    r"encourage|promote|omit|remove|turn|state|mention|transform|make|share|discuss|outline|"
    r"calculate|solve|break|misspell|render|combine|enhance|anagram|jumble|can you|could you|"
    r"define|identify|prepare|produce|highlight|end|begin|start)",
)
YOUR_REPLY: Final = pattern(r"your (?:next )?(?:reply|response|answer|message|output)")
TO_YOUR_REPLY: Final = re.compile(
    r"(?:^|[.!?\n]\s*)(?:please )?(?:in your (?:reply|response|answer),? |(?:modify|change|alter|"
    r"add|"
    r"include|insert|append|use|replace|scramble|rearrange|convert|group|translate|integrate|"
    r"incorporate|embed|augment|adjust|reverse|encode|rephrase|present|embellish|rewrite|randomly|"
    r"substitute|mix|shuffle|make|turn|end|begin|start|introduce|express|write|provide|craft|omit)"
    r"\b[^.\n]{0,120}\b(?:your|the|each|every) (?:\w+ )?(?:reply|response|answer|output)\b)"
)

# Two different ones are enough: an aside addressed to the one who answers.
INJECTION_HINTS: Final = tuple(
    pattern(phrase)
    for phrase in (
        r"(?:your|the|this|all|every|each|its) (?:next )?(?:response|reply|answer|output|responses|"
        r"replies|answers)(?:'s)?",
        r"(?:modify|change|alter|add|include|insert|append|use|replace|scramble|rearrange|convert|"
        r"translate|write|integrate|incorporate|embed|augment|adjust|reverse|encode|rephrase|"
        r"present|craft|embellish|rewrite|randomly|substitute|swap|mix|shuffle|suggest|structure|"
        r"provide|compose|create|develop|generate|describe|explain|summari[sz]e|recommend)",
        r"(?:character|persona|role|personality|scenario|fictional|story|game master|simulation)",
        r"you (?:must|will|shall|are to|have to|should|can|may|do|don't|never|always) (?:\w+ )?"
        r"(?:always|never|not|only|answer|respond|refuse|obey|say|act|be|follow|comply|stay|"
        r"provide|"
        r"start|continue)",
        r"(?:rules?|illegal|unethical|refuse|refuses|refusal|warnings?|disclaimers?|comply|obey)",
        r"(?:no matter (?:what|how)|never refuse|under no circumstances|at all costs|do not "
        r"mention)",
        r"(?:i want you to|i need you to|your task is|your job is|you will be given|i will ask "
        r"you)",
        r"(?:prompt|prompts|query|instruction|instructions|command|token|tokens)",
        r"(?:password|passphrase|secret|confidential|credentials|private information|access code|"
        r"security question)",
        r"(?:hello|hi)? ?(?:assistant|bot|ai|gpt|chatbot|model)",
        r"(?:start|begin|end|respond|reply|answer|speak) (?:\w+ ){0,3}(?:with|in|by|only|using)",
    )
)

# --- abuse ----------------------------------------------------------------------------------

# Words against groups or persons. Swearing about a thing ("my damn order") is not among them.
SLURS: Final = pattern(
    r"n[i1]g(?:g(?:a|er|uh|ah))?(?:s|z|"
    r"'s)?", r"nicca\w*",
    r"peckerwoods?", r"rednecks?", r"hillbill\w+", r"fag(?:got)?s?", r"faggots?", r"dykes?",
    r"kikes?",
    r"sp[i1]c(?:s|k)?", r"chinks?", r"gooks?", r"wetbacks?", r"coons?", r"trann(?:y|ies)",
    r"retard(?:ed|s)?", r"towel ?heads?", r"rag ?heads?", r"beaners?", r"crackers?(?= ass| trash)",
    r"white trash", r"redskins?", r"queers?", r"paki", r"mongoloid", r"spear ?chuckers?",
    r"porch monkeys?", r"sand "
    r"n\w+", r"whores?", r"sluts?", r"cunts?", r"hoes?", r"thots?", r"skanks?",
    r"bitch(?:es|ing|ass|y|s)?", r"biatch", r"pussy", r"pussies", r"twats?", r"cocksuckers?",
    r"motherfuckers?", r"muthafuck\w+", r"dickheads?", r"assholes?", r"bastards?", r"douche ?bags?",
    r"libtards?", r"\w*tards", r"\w+tard", r"scumbags?", r"jackass(?:es)?", r"dumb ?ass(?:es)?",
    r"dipshits?", r"shit ?heads?", r"fuck ?(?:er|tard|wit|wad|face|head|"
    r"boy)s?", r"p\*+[sy]+y?", r"pu\*+y", r"c\*+t", r"f\*+ ?(?:you|u|"
    r"off)", r"b\*+h(?:es)?", r"cum", r"niglets?",
    r"trailer trash", r"degenerates?", r"subhumans?", r"vermin", r"scum", r"filthy \w+", r"nazis?",
    r"wankers?", r"pricks?", r"tits", r"titties", r"dicks?", r"cock", r"blow ?jobs?", r"jerk ?off",
)  # fmt: skip

INSULTS: Final = pattern(
    r"(?:you|you're|your|u|ur|he|she|they|he's|she's|they're|these|this|those|all|what an?|such "
    r"an?|"
    r"is an?|are|is|an?|the|bunch of|fucking|stupid|dumb|complete|total|absolute|typical|ignorant|"
    r"pathetic|lying) (?:\w+ ){0,2}?(?:idiots?|morons?|imbeciles?|stupid|dumb|losers?|pigs?|"
    r"clowns?|rats?|traitors?|cowards?|freaks?|creeps?|fools?|jerks?|animals?|monkeys?|"
    r"apes?|bozo|trolls?|cretins?|psychos?|lunatics?|imbecile|worthless|disgusting|pathetic|"
    r"braindead|hypocrites?|snowflakes?|weirdos?|perverts?|pedos?|pedophiles?|rapists?|terrorists?|"
    r"communists?|fascists?|racists?|bigots?|incels?|monsters?|liars?|parasites?|ugly)",
    r"piece of (?:shit|shlt|crap|garbage|trash)", r"pieces of (?:shit|trash)", r"pos",
    r"(?:fuck|screw|damn) (?:you|u|off|them|him|her|this (?:guy|man|woman|country)|joe|biden|"
    r"trump|all of|every|the|that|these|those|yourself|your)", r"f(?:\*+|u)ck ?(?:ing)? (?:\w+ )?"
    r"(?:idiots?|morons?|clowns?|liars?|losers?)", r"stfu", r"shut (?:the \w+ "
    r")?up", r"kys", r"gtfo",
    r"go to hell", r"rot in hell", r"burn in hell", r"eat shit", r"suck (?:my|a|it)",
    r"kill (?:yourself|yourselves|urself|you|them all|him|her|all)", r"(?:should|deserves? to|hope "
    r"(?:you|he|she|they|u)|go|better off) (?:\w+ )?(?:die|dead|hanged|hang|be shot|burn|suffer|"
    r"rot|drop dead|be hanged|be executed)", r"i(?:'ll| will| wanna| want to)? (?:kill|shoot|"
    r"stab|rape|beat|murder|hurt|strangle|hunt) (?:you|u|him|her|them|your)", r"(?:your|ur|yo) "
    r"(?:mom|mama|momma|mother) (?:is|was|so)", r"no one (?:likes|loves) you", r"hate (?:all |"
    r"these |"
    r"those )?(?:jews?|muslims?|blacks?|whites?|gays?|women|immigrants?|mexicans?|asians?|"
    r"christians?|liberals?|republicans?|democrats?)", r"(?:imbecile|moron|idiot|cretin|"
    r"imbeciles|morons|idiots|idiotic|braindead|brain dead|moronic|dumbest|stupidest)",
    r"(?:you|u|you're|he|she|they|people|women|men|them) (?:\w+ ){0,2}(?:trash|garbage|cancer|evil|"
    r"senile|ass|a joke)", r"(?:trash|garbage) (?:people|human|president|person)",
    r"(?:asses|shithole|bullshitter|pedophiles?|inbred|groomers?|turd\w*|sheeple|sociopath\w*|"
    r"psychopath\w*|traitors?|demented)", r"stupidity", r"stupid", r"wtf is wrong with",
)  # fmt: skip

# --- personal data --------------------------------------------------------------------------

SSN: Final = re.compile(
    r"(?<![\d-])(?!000|666|9\d\d)\d{3}[- ](?!00)\d{2}[- ](?!0000)\d{4}(?![\d-])"
    r"|\b(?:ssn|social security)\D{0,30}\d{3}[- ]?\d{2}[- ]?\d{4}(?!\d)",
    re.IGNORECASE,
)
IBAN: Final = re.compile(r"(?<!\w)[A-Z]{2}\d{2}[ ]?(?:[A-Z0-9]{4}[ ]?){2,7}[A-Z0-9]{1,4}(?!\w)")
CARD: Final = re.compile(r"(?<![\d.])\d(?:[ -]?\d){11,18}(?![\d])")
EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+'-]{1,64}@(?:[\w-]{1,63}\.)+[a-z]{2,24}(?!\w)", re.I)
IP: Final = re.compile(
    r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"
    r"|(?<![\w:])(?:[0-9a-f]{1,4}:){5,7}[0-9a-f]{1,4}(?![\w:])",
    re.IGNORECASE,
)
PHONE: Final = re.compile(
    r"(?<![\w.#$-])(?:\+\d{1,3}[ .-]?)?\(?\d{2,4}\)?[ .-]\d{2,4}(?:[ .-]\d{2,5}){1,3}"
    r"(?:\s?x\d{1,5})?(?![\w-]|[.,]\d)"
    r"|(?<![\w.#$-])\+\d[\d ()-]{8,16}\d(?!\d)"
    r"|\(\d{3}\)\s?\d{3}-?\d{4}(?:x\d{1,6})?"
    r"|(?<![\w.#$-])\d{2,4}[ -]\d{6,8}(?![\w-]|[.,]\d)"
    r"|(?<![\w.#$-])[2-9]\d{9}(?!\w)"
    r"|(?<![\w.#$-])0\d{3,4}[- ]?\d{6,7}(?!\w)"
)
PHONE_WORD: Final = re.compile(
    r"(?:phone|mobile|cell|contact|call me|telephone|tel|fax|number)\W+(?:\w+\W+){0,6}?"
    r"\+?\d[\d ().-]{5,16}\d",
    re.IGNORECASE,
)
_STREET: Final = (
    r"(?:street|st|avenue|ave|road|rd|drive|dr|lane|ln|boulevard|blvd|way|court|ct|place|pl|"
    r"terrace|highway|hwy|square|circle|parkway|pkwy|nagar|strasse|stra\u00dfe|rue|via|calle|"
    r"plaza|close|crescent|trail|loop|alley|row|gata|utca|vej|tie|colony|layout|cross)"
)
ADDRESS: Final = re.compile(
    rf"(?<![\w#$.])\d{{1,5}}[a-z]?,?\s+(?:[\w'.-]+\s+){{0,4}}?{_STREET}(?![\w'])"
    r"|\b(?:apt|apartment|suite|unit|flat|door no|house no|plot no|p\.?\s?o\.? box|psc|box)\.?\s*#?"
    r"\d{1,6}\b"
    r"|\b[A-Z]{2}\s+\d{5}(?:-\d{4})?\b"
    r"|\b(?:rue|via|calle|boulevard de|avenue de|strada|plaza)\s+[\w' -]{3,30}\s+\d{1,4}\b"
    r"|\b(?:my|the|new|home|current|old|shipping|mailing)\s+(?:\w+\s+)?address\s*(?:is|:|=|-)\s*\S"
    r".{0,40}?\d"
    r"|\bcorner of\s+\S"
    r"|(?<![\w#$.])\d{2,5}\s+[^\W\d]{4,30}\s+\d{1,3}[.,]?\s"
    r"|\b(?:sent to|return (?:it )?to|delivered? (?:it )?to|ship(?:ped)? (?:it )?to|live(?:s|d)? "
    r"(?:at|on)|"
    r"located at)\s+(?!order|my order|your)[^.?!\n]{0,40}?(?<![#\w])\d{1,5}\b(?!\s*(?:items?|days?|"
    r"people|times|weeks?|hours?))"
    r"|\b\d{1,5}\s+[\w'. -]{3,40}?(?:\n|,)\s*(?:apt|suite|unit)",
    re.IGNORECASE,
)
PASSWORD: Final = re.compile(
    r"\b(?:my\s+)?(?:account\s+)?(?:password|passcode|pass\s?word|pin)\b\s*(?:is|:|=|"
    r"-)\s*(?=\w)(?!not|"
    r"wrong|incorrect|invalid|expired|the|that|being|no|too|case|asked|required|reset)\S+"
    r"|\b\w*\d\w*\s+is\s+my\s+pass(?:word|code)\b"
    r"|\bname\b.{1,40}\bpassword\s+(?:is\s+)?(?!is|reset|and|to)\w+"
    r"|\bpassword\s+(?=\w*\d)\w{3,}",
    re.IGNORECASE,
)
LONG_NUMBER: Final = re.compile(
    r"\b(?:account|acct|card|licen[sc]e|passport|member(?:ship)?|policy|customer)\s*(?:number|no|"
    r"id|"
    r"#)?\.?\s*(?:is|:|-|#)?\s*(?=[\w-]*\d[\w-]*\d[\w-]*\d[\w-]*\d)[\w-]{6,24}\b",
    re.IGNORECASE,
)
NAME_ZIP: Final = re.compile(
    r"(?:\b(?:name|i\s?am|i['\u2019]m|this is)\b|^)[\s\S]{0,"
    r"80}?(?<![\d#])\d{5}(?!\d)",
    re.IGNORECASE,
)

# --- what a reply of ours never says --------------------------------------------------------

RUDE: Final = pattern(
    r"(?:you(?:'re| are)) (?:\w+ )?(?:wrong|stupid|an idiot|lying|a liar|crazy|ridiculous|rude|"
    r"pathetic|annoying|being difficult|unreasonable)", r"shut up", r"calm down", r"get lost",
    r"not my problem", r"whatever", r"stop (?:whining|complaining|bothering)", r"your own fault",
    r"fuck\w*", r"shit\w*", r"damn\w*", r"crap", r"bullshit", r"idiots?", r"morons?", r"stupid",
    r"hell",
)  # fmt: skip
LEAK: Final = pattern(
    r"system prompt", r"system message", r"my (?:instructions|prompt|guidelines|programming)",
    r"(?:previous|prior) instructions", r"as an? (?:ai|artificial|large)(?: language)?(?: model)?",
    r"language model", r"openai", r"chatgpt", r"must_say", r"customer_name", r"the brief",
    r"according to the brief", r"json", r"i was (?:instructed|told) (?:to|not)", r"developer mode",
    r"dan", r"jailbr\w+", r"guardrails?", r"api key", r"do anything now", r"hacked",
)  # fmt: skip
ADMISSION: Final = pattern(
    r"(?:we|i) (?:are|am|were|was|accept|admit|acknowledge|take|assume) (?:\w+ ){0,2}(?:liable|"
    r"liability|negligent|at fault|legally responsible|guilty|full responsibility|fault|breach)",
    r"(?:is|was|are|were) (?:entirely |completely |all )?(?:our|my) (?:own )?fault", r"our "
    r"negligence",
    r"(?:we|i) (?:broke|violated|breached) (?:the law|the contract|your rights|our contract)",
    r"you (?:could|should|can|may|have (?:a|the) (?:case|right) to|are entitled to) (?:sue|claim "
    r"damages|take legal action|press charges)", r"legal advice", r"medical advice",
    r"(?:you should|i recommend|try) (?:tak(?:e|ing)|stop(?:ping)?) (?:\w+ )?(?:medication|"
    r"medicine|"
    r"pills|aspirin|ibuprofen|antibiotics|drugs?)", r"you (?:have|suffer from|may have) (?:an? )?"
    r"(?:allerg\w+|infection|disease|concussion|poisoning|fracture)", r"\d+ ?mg",
    r"(?:is|are) (?:completely |totally |perfectly )?safe (?:to eat|for (?:babies|children|"
    r"pregnan))",
    r"compensat(?:e|ion) (?:you )?for (?:your )?(?:injur\w+|damages|suffering|losses)",
)  # fmt: skip
COMMITMENT: Final = pattern(
    r"guarantee[ds]?", r"(?:i|we) (?:\w+ )?promise", r"promises? (?:you|that)", r"i assure you",
    r"rest assured", r"without fail", r"definitely (?:arrive|be|get|receive)", r"100 ?%",
    r"(?:free|complimentary) (?:of charge|shipping|gift|replacement|upgrade|item|return)",
    r"(?:\d+ ?%|percent) (?:off|discount)", r"discounts?", r"vouchers?", r"coupons?", r"promo code",
    r"store credit", r"gift card (?:worth|for|of)", r"as compensation", r"waive\w*",
    r"lifetime", r"on the house", r"at no (?:extra |additional )?(?:cost|charge)",
)  # fmt: skip
