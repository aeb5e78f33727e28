"""What customers' words stand for, and which of them together make which wish.

Two readable tables: words and phrases to concepts, and concepts to intents with weights. Words
come with commas between them; `stem*` stands for every word that begins so.
"""

from typing import Final

from agents.language import listed
from streams.payload import IntentName

CONCEPTS: Final[dict[str, str]] = {
    # Things
    "order": "order, orders, purchase, purchases, puchase, ordr, preorder",
    "order_id": "orderid",
    "parcel": "parcel*, package, packages, shipment, shipments, delivery, deliveries, my stuff, "
    "my things, my order, my orders, my purchase, courier, mail, my items, my goods",
    "item": "item, items, product, products, article, articles, goods, something, thing, things, "
    "it, them, one, this, these, shoes, shoe, boots, shirt, t shirt, tshirt, jacket, laptop, "
    "phone, camera, dress, lamp, keyboard, headphones, watch, bottle, tablet, backpack, chair, "
    "vacuum, speaker, bicycle, mouse, charger, helmet, kettle, skateboard, hose, cleaner, grill, "
    "sneakers, puzzle, perfume, thermostat, earbuds, smartwatch, sunglasses, bookshelf, mat, "
    "sweater, jeans, pants, hat, bag, toothbrush, umbrella, purifier, reader, radio, pillow, "
    "skillet, candle, mug, headset, towel, towels, sheets, jars, flask, slippers, journal, size, "
    "color, colour, variant",
    "card": "card, cards, debit, visa, mastercard, amex",
    "account": "account, accounts, profile, acct, membership, acount, user, users",
    "tier": "gold, platinum, premium, pro, freemium, standard, free",
    "address": "address, adress, addresses, addres, addresss, zip code, postcode",
    "personal": "personal details, personal information, personal info, personal data, my details, "
    "my information, my info, my name, surname, last name, phone number, email address, "
    "my email, user information, contact details, contact information, maiden name, my data, "
    "username, user name, email on, new email, demographics, change name, account details, "
    "account information, account info, "
    "details on my account, mobile number",
    "called": "call me, called me, my name is, my name's, name should, i go by, calls me, "
    "called by, go by, have you call, refer to me, they call me, i'm called, name is, call me by,"
    " known as, address me, "
    "name me, i am called, goes by, friends call me, people call me, say my name, "
    "calling me",
    "moved": "moved, relocated, new place, new home, got married, just married, married, "
    "marital, divorced, wedding, changed my name, moving",
    "password": "password*, passcode*, pwd, pin, pin code, access key, user key, key, pass, "
    "access code, credentials, login code, profile key, 2fa, verification code, passwrod",
    "login": "log in, login, logging in, sign in, signing in, log into, logged out, logged in, "
    "access my account, get into, log on, use the app, access the app",
    "register": "register*, registration*, sign up, signup, signing up, sign ups, signups, "
    "enrol*, enroll*",
    "identity": "identity, identify, my id, id check, who i am, verify me, verify my, "
    "identification, know it is me, i am myself, proof, who i say, identified, verifying my, "
    "recognize me, recognise me, its me, it's me, verification, recognizing me",
    "invoice": "invoice, invoices, receipt, receipts, billing statement, tax document, "
    "bill from, bills from, the bill, my bill, my bills, bill, bills",
    "household": "electric, electricity, water, gas, cable, internet, rent, mortgage, insurance, "
    "utility, utilities, phone bill, credit card bill, car payment, car bill, xfinity, comcast, "
    "verizon, directv, netflix, loan, tuition, house payment, bill payment, subscription bill",
    "payment": "payment*, pay, paying, paid, transaction*, checkout, check out, transfer, "
    "purchase with my card",
    "method": "method, methods, option, options, modality, modalities, mode, modes, ways, way, "
    "alternatives, means, choices",
    "statement": "statement, my app, the app, bank account, credit card, my bank, in my account, "
    "on my account, account balance, activity",
    "fee": "fee, fees, extra charge, extra pound, extra dollar, surcharge, additional charge, "
    "additional amount, extra money, penalty, penalties, 1 pound, one pound, extra amount, "
    "extra cost, extra fee, 1 fee, charge fee, one dollar, a dollar, 1 dollar, 1 charge, "
    "additional cost, pound charge, dollar charge, restocking",
    "exit": "withdrawal, early exit, early termination, cancellation fee, "
    "cancellation fees, termination, cancellation penalty, cancellation penalties, "
    "cancellation charge, cancellation charges, cancelation fee, cancellation policy",
    "charge": "charge, charged, charges, charging, billed, deducted, debited, overcharged, "
    "overcharge, took money, taken from, bill me, billed me, charge me, overbilled, debit for",
    "twice": "twice, double, doubled, duplicate*, two times, second time, repeated, repeat, "
    "more than once, again, same transaction, multiple times, multiple charges, two charges, "
    "same charge, same payment, 2 times, 2x, too many times, shows up twice, "
    "extra transaction, two payments, 2 charges, three times",
    "unknown": "didn't make, did not make, don't recognize, don't recognise, do not recognize, "
    "do not recognise, unrecognized, unrecognised, unknown, not mine, unauthorized, unauthorised, "
    "didn't authorize, did not authorize, didn't do, did not do, fraud, fraudulent, never made, "
    "strange, suspicious, not familiar, unfamiliar, don't remember, do not remember, haven't "
    "made, not made by me, wasn't me, didn't authorise, someone else, somebody else, weird, "
    "haven't done, don't know about, not authorized, mistake, i haven't, didn't buy, without my "
    "permission, isn't mine, is off, odd, didn't create, did not create, not created, weren't "
    "made, "
    "didn't go to, don't know anyone, not recognition, never been, not recognize, not recognise, "
    "recongize, never authorized, "
    "didn't purchase, did not purchase, not do, never purchased, didn't order, did not order",
    "owe": "owe, owed, due, due date, balance, how much is, amount of, total of, total bill, "
    "minimum payment, do i need to pay, do i have to pay, must i pay, do i pay, come due, comes "
    "due, "
    "left to pay, next up, how much do i, how much on, cost of my, payment due, is due, are due, "
    "how "
    "much in total",
    # Events
    "where": "where is, where's, wheres, where are, track, tracks, tracking, tracked, trace, "
    "locate, location, whereabouts, find my, where my, where the, where did, look up my, "
    "where has, where could, located",
    "status": "status, eta, progress, update on, updates on, state of, news on, information on my "
    "order, check on my, check my order, follow up on, checking on, any update, any news, "
    "update me on, happening with, situation of, going on with, what happened to, "
    "already here, be here by, be here today, shown as delivered, is my order, has the order, is "
    "my package, "
    "is the package, was my order, my order been, coming today, order is, able to track, "
    "been processed, been shipped, been delivered, on its way, arrived yet, shipped yet, "
    "has my, look up, on track, tell me about my order",
    "when": "when, how long, how soon, what time, what date, what day, how many days, how fast, "
    "estimate*, expected, length of time, timeframe, time frame, by when, how quickly, how much "
    "longer, expect",
    "expect": "can i expect, should i expect, could i expect, do i expect, how soon, may i expect, "
    "earliest time, specify a day, specific date, specific day, choose a date, pick a day",
    "arrive": "arrive, arrives, arrived, arriving, arrival, come, comes, coming, came, get here, "
    "gets here, delivered, deliver, delivers, delivering, receive, received, recieve, recieved, "
    "receiving, show up, showed up, reach me, shipped, shipping, ship, ships, get to me, sent, "
    "gotten, be here, got here, been here, get my, got my, getting my, mailed, delivery, have my, "
    "in the mail, got it, in yet, dispatched, fast tracked, expedite, receipt of",
    "notyet": "hasn't, haven't, has not, have not, not arrived, never, still waiting, still not, "
    "still no, didn't arrive, did not arrive, not here, not yet, not received, nowhere, hasnt, "
    "havent, yet to, still don't have, don't have my, waiting for my, waiting on my, waiting for "
    "it, isn't here, not come, didn't get, did not get, never got, should have, supposed to, "
    "not came, waiting, still, still isn't, not shown, hasn't shown, didn't receive, did not "
    "receive, do not have my, missing",
    "carrier": "which carrier, what carrier, which courier, what courier, who delivers, who is "
    "delivering, who's delivering, carrier",
    "list": "show me, show my, list, see all, see my, view my, all my, what have i, what did i, "
    "which orders, what orders",
    "orders": "orders, my purchases, order history, have i ordered, did i order",
    "sendto": "send my order to, send my parcel to, send my package to, ship my order to, ship my "
    "parcel to, ship my package to, deliver my order to, deliver my parcel to, deliver my package "
    "to, deliver it to my, send it to my, ship it to my, send order to, ship order to, "
    "send it to a different, deliver it to a different, deliver it to another, send it to another, "
    "ship it to another, to my neighbour, to my neighbor, to my neighbors, to my office, "
    "to my work",
    "pastprice": "how much did i pay, what did i pay, did i pay for, how much i paid, how much "
    "have i paid, how much was, what was the price, how much were, how much did the, "
    "how much did it",
    "mine": "my, i ordered, i bought, i have ordered, i've ordered, i purchased, i got",
    "feature": "bluetooth, wireless, wired, cordless, waterproof, rechargeable, foldable, "
    "washable, leather, cotton, wool, steel, ceramic, glass, vegan, noise cancelling",
    "late": "late, delay*, overdue, behind schedule, lost in, is lost, been lost, got lost, "
    "taking so long, taking forever, taking too long, not moving, "
    "stuck in transit, went missing, lost my, lost the, lost it, is late, it's late, running "
    "late, never came, hasn't moved, past the, promised, been a week, been two, been three, been "
    "days, been weeks, four days ago, been a while, "
    "what is taking, why is it taking, stuck",
    "options": "shipping options, shipping methods, delivery options, delivery methods, "
    "options for delivery, methods for delivery, shipment options, shipment methods, options for "
    "shipment, options for shipping, methods for shipping, methods for shipment, ship to, "
    "deliver to, order from, delivery to, shipping to, order to, do you deliver, do you ship, "
    "express delivery, shipping cost, delivery cost, shipping rates, shipping period, shipping "
    "periods, delivery periods, shipment period, deliver it to, shipping "
    "policy, shipping method, delivery method, shipping option, delivery option, delivery period, "
    "delivery times, shipping times, delivery time, shipping time",
    # Wishes about an order
    "cancel": "cancel*, call off, revoke, withdraw, withdrawing, canel, do not ship, "
    "don't ship, stop my order, stop the order, no longer want, don't want it anymore, don't "
    "need it anymore, ordered by mistake, "
    "stop it before, stop it from shipping, accidentally ordered, undo",
    "modify": "change, changes, changing, changed, modify, modifying, modified, modification*, "
    "update, updating, updated, edit, editing, edited, correct, correcting, alter, amend, "
    "adjust, adjustments, adjusting, fix, rectify, revise, amending, customize",
    "switch": "switch, switching, switched, swap, swapping, replace, replacing",
    "addto": "add, adding, remove, removing, take off, take out, delete, include, set, setting, "
    "set up, setup, enter, entering, submit, submitting, add another, upgrade",
    "wrongly": "wrong address, wrong delivery address, wrong shipping address, incorrect address, "
    "address is wrong, wrong adress, old address, different address, another address, new "
    "address, secondary address, address change, change of address",
    "pending": "pending order, pending orders, in my order, from my order, to my order, of my "
    "order, on my order, in the order, to the order, of order, from order, in order, just placed "
    "an order, just ordered, order i placed, recent order, recently placed, still pending, is "
    "pending, order i made, "
    "order i just, before it ships, of purchase, from purchase, to order, on order, on the order, "
    "from the order, in purchase, my order, placed an order",
    "return": "return, returns, returning, returned, send back, send it back, sending back, give "
    "back, bring back, send them back, take it back, take back, send this back, sending it back, "
    "return label, return policy, ship back, rma, give it back, returnable, get rid of",
    "refund": "refund*, refund, refunds, refunding, reimbursement, reimbursements, compensation, "
    "rebate, "
    "rebates, restitution, reimburse, reimburs*, rebat*, restitut*, money back, compensat*, get "
    "my money, "
    "repay, repayment, my money, moneyback, returned money, pay me back, paid back, "
    "reimbursable, return my money",
    "policy": "policy, policies, in which cases, in what cases, in which situations, in what "
    "situations, under what, conditions, eligible, can i get, can i have, possible to get, "
    "ask for, request, get a, how do i get, how can i get, obtain, apply for, claim a, demand, "
    "demanding, i want a, want my, need a, need my, give me, process, procedure, would like a",
    "waiting": "waiting for, waiting on, wait for, expecting, i expect, expect a, where is my "
    "refund, when will, not showing, hasn't shown, haven't received, have not received, not "
    "received, hasn't arrived, hasn't come, don't see, do not see, can't see, cannot see, "
    "isn't showing, status of, still waiting, missing, track, has been issued, not gotten, "
    "didn't get my, haven't gotten, not in my, not there, show up, showing up, issued, "
    "requested a refund, asked for a refund, told i would, said i would get, promised a refund, "
    "promised "
    "me a refund, credited to my, no progress, unable to see, still haven't, haven't got, "
    "visible, taking so long, hurry, appear, last week, a while ago, days ago, weeks ago, hasn't "
    "given, still hasn't, yet to, taking, as soon as possible, when do i, when can i, "
    "did you refund, have you refunded, did you already refund, was i refunded, "
    "am i refunded, refunded me, refund me already, refund me yet, "
    "processed, how long, was supposed, where is the, not appeared, not on my, not appearing, "
    "hasn't been, still no, still not, check my, check the, status, when can, where's my, "
    "didn't receive, did not receive, not show, not posted, never received, pending, go through",
    "exchange": "exchange, exchanges, exchanging, exchanged, replacement, swap it for, swap for, "
    "switch it for, trade, different size, another size, different color, different colour, "
    "another color, another colour, size up, bigger size, smaller size, larger size",
    "getin": "get it in, get them in, have it in, have them in, get one in, get it as, get a, "
    "get the, get it, have a, have the, get in, in size, in a, in the, send me, a different, "
    "one in, it in, them in, need it in, want it in, a bigger, a smaller, a larger",
    "instead": "instead",
    "broken": "broken, damaged, defective, faulty, torn, cracked, doesn't work, does not work, "
    "stopped working, not working, wrong item, wrong size, wrong product, wrong color, wrong "
    "colour, doesn't fit, does not fit, don't fit, do not fit, didn't fit, too small, too big, "
    "too large, not as described, "
    "not what i ordered, poor quality, ripped, scratched, leaking, dead on arrival, shattered, "
    "changed my mind, don't want it, don't like, don't need, no longer need, not happy with the",
    "delivered": "received, delivered, arrived, got, from a recent delivery, came, bought, "
    "purchased, i ordered, just got",
    # Payment trouble
    "declined": "declin*, reject*, refuse*, denied, didn't go through, did not go through, not go "
    "through, won't go through, hasn't gone through, doesn't go through, not accepted, won't "
    "accept, not accepting, not letting me, won't let me, can't pay, cannot pay, not work, "
    "isn't working, not working, doesn't work, didn't work, failed, failing, fails, unable to "
    "pay, couldn't pay, could not pay, unsuccessful, won't work, wouldn't work, bounced, "
    "wasn't working, not get accepted, wouldn't take, wouldn't accept, accept my card, wrong "
    "with my "
    "card, use my card, take my card, working properly, not accept, letting me make, "
    "keep getting declined, couldn't get my card, didn't let me, not able to",
    "reverted": "revert*, returned to my account, came back, went back, sent back, reversed, "
    "been cancelled, been canceled, was cancelled, was canceled, returned, not showing up, "
    "disappeared, got cancelled, got canceled, bounced back, back in my account, refunded",
    "stuck_payment": "pending, still processing, not processed, on hold, not cleared, still not "
    "gone through, waiting to clear, clear, not been processed, not completed, "
    "showing pending, as pending, hasn't processed, haven't processed, go through, processed, "
    "posted, hasn't posted",
    "trouble": "issue, issues, problem, problems, error, errors, trouble, troubles, mistake, "
    "mistakes, fault, fails, failure, wrong with, difficulty, difficulties, "
    "not working, doesn't work, complication, bug, glitch",
    "accept": "accept, accepts, accepted, acceptable, take paypal, take credit, available, "
    "allowed, support paypal, offer, offered, valid, do you take, can i use, can i pay with, pay "
    "with",
    "paywith": "paypal, apple pay, google pay, klarna, gift card, gift cards, american express, "
    "afterpay, "
    "cash on delivery, bank transfer, credit cards, debit cards",
    # Account
    "create": "create, creating, creation, open, opening, make an account, make a new, new, start",
    "close": "close, closing, delete, deleting, deletion, remove, removing, removal, deactivate, "
    "deactivating, terminate, terminating, termination, cancel, canceling, cancelling, shut down, "
    "get rid of, end, stop, eliminate, erase, disable, closed, cancellation, shut",
    "forgot": "forgot*, lost my password, don't remember, don't know, can't remember, cannot "
    "remember, do not remember, don't have my, reset*, retriev*, recover*, restor*, "
    "remember, get back, unlock",
    "blocked": "blocked, block, locked, lock, frozen, freeze, froze, suspended, hold on my, "
    "on hold, restricted, disabled, hacked, barred, hold on, a hold, "
    "can't access, cannot access, unable to access, locked out, can't get into, banned",
    "changeto": "change to, changing to, switch to, switching to, move to, upgrade to, upgrading "
    "to, "
    "downgrade to, using, use another, use a different, use the, swap to",
    # Talk
    "complain": "complaint*, complain*, grievance, reclamation*, file a claim, lodge a claim, "
    "make a claim, claim against, consumer claim, customer claim, lodge, claims against, "
    "formal complaint, a claim, dispute with your",
    "against": "against your, against ur, against the, against you, about your service, against",
    "upset": "unacceptable, terrible, horrible, awful, worst, disgrace*, disappointed, "
    "disappointing, pathetic, poor service, bad service, ridiculous, rude, never again, "
    "outrageous, furious, fed up, disgusted, disgusting, appalling, dissatisf*, unhappy with, not "
    "happy with, not satisfied, let down, sick of, waste of, useless, scam, terrible service, "
    "frustrated, frustrating, angry, unprofessional, incompetent, how dare, is a joke, are a joke, "
    "was a joke, what a joke, such a joke, complete joke, total joke, joke of a, shame on",
    "human": "human, humans, agent, agents, person, operator, representative, rep, someone, "
    "somebody, manager, supervisor, advisor, assistant, real person, live chat, attendant, "
    "staff member, specialist, live agent",
    "talk": "talk*, speak*, chat*, connect, transfer, contact, reach, call, phone, get hold of, "
    "get in touch, put me through, want a, need a, get me, give me a, escalate, pass me, "
    "in touch, calling, ring, escalated",
    "service": "customer service, customer support, customer assistance, customer care, support "
    "team, help center, help desk, helpdesk, service number, support number, customer sefvice, "
    "your support, free number, toll free, phone support, client service, hotline",
    "hours": "hours, what time, at what time, number, opening hours, what hours, phone number, "
    "available",
    "bot": "are you a bot, a bot, a robot, a real person, real human, an ai, a human, a machine, "
    "a computer, are you human, are you real, an actual person, "
    "artificial intelligence, chatbot, a person, human or, real or",
    "areyou": "are you a, are you an, are you human, are you real, are you actually, so are you, "
    "whether you are, am i talking, am i speaking, i'm talking, i'm speaking, if you're, if you "
    "are, "
    "is this, would you consider, you're a, you're an, do i have a real, r you",
    "thanks": "thank*, thx, tysm, ty, thankful, grateful, gratitude, cheers, "
    "much appreciated, thank you, you helped, helped me, big help, appreciated, appreciate the, "
    "appreciate it, appreciate your, appreciate you, appreciate, thnks, great help, "
    "great service, great experience, happy with, love my, pleased with, you're the best, you "
    "are the best, very helpful, so helpful",
    "praise": "great, perfect, awesome, wonderful, excellent, amazing, love it, good job, great "
    "job, well done, fantastic, brilliant, sweet, helpful",
    "review": "review*, feedback*, opinion*, comment, comments, rate, rating, testimonial, "
    "survey, suggestion, suggestions, recommend you",
    "smalltalk": "a joke, joke, jokes, funny, a poem, a song, a story, sing, weather, "
    "your favorite, your favourite, meaning of life",
    "callback": "call me back, calling me back, calls me back, call back, callback, ring me back",
    "opening": "opening hours, business hours, opening times, working hours, hours of operation, "
    "open on, are you open, do you open, do you close",
    "newsletter": "newsletter*, subscribe*, unsubscribe*, mailing list, subscription, "
    "marketing emails, promotional emails, stop emailing, stop sending me",
    "buy": "buy, buying, purchase some, order some, order several, order a few, place an order, "
    "placing an order, make a purchase, buy some, order something, acquire, acquiring, "
    "purchase several, purchase a few, ordering some, order from you, earn, earning, want to "
    "order, like to order, try to order, need to order, "
    "purchasing, ordering, make an order, making an order, get some of, order one",
    "some": "some, several, a few, few, your items, your products, your item, your product",
    "greeting": "hello, hi, hey, good morning, good afternoon, good evening, greetings, "
    "salutations, howdy, what's up, whats up, how are you, how's it going, how are things, "
    "what's happening, what's new, how do you do, nice to meet, yo, how you doing, hey there, "
    "how have you been, how've you been, how is it going, how is your day, hiya, sup, "
    "what is up, how you been, how are, doing well, feeling okay, how do you feel, "
    "is everything going, things going",
    "bye": "bye*, goodbye, see you, take care, farewell, have a nice day, have a good day, talk "
    "later, talk to you later, good night, until next time, see ya, later, good talk, nice talk, "
    "take it easy, so long, catch you, gotta go, must go, have to go, need to go, get going, "
    "chatting with you, speaking with you, talking to you, talking with you, to chat with you, "
    "conversing, talk to you, signing off, be going, be leaving, heading out, "
    "to speak with you, speaking to you, to see you, chatting to you, great talk",
    "enjoyed": "nice, enjoyed, great, good, pleasure, pleasant, fun, enjoyable, glad, awesome, "
    "lovely",
    "repeat": "repeat that, repeat, say that again, say it again, come again, what did you say, "
    "said again, say again, once more, one more time, didn't hear, did not hear, didn't catch, "
    "pardon, restate, rephrase, didn't understand, last thing you said, just said, you said, "
    "was that again, say that one, told me, did you say, repeated, you just said, what was that",
    "ability": "what can you do, what can i ask, can i ask you, ask you, help me with, you know "
    "about, your skills, skills, programmed, capable, what do you know, able to ask, you answer, "
    "are you familiar, you can do, able to do, subjects, topics, questions",
    "yesno": "yes, yeah, yep, yup, no, nope, nah, sure, correct, right, true, false, wrong, "
    "confirm, affirmative, negative, absolutely, definitely, exactly, accurate, incorrect, "
    "indeed, positive, certainly, of course, ok, okay, not true, no way, fact, the truth, "
    "untrue, not the case",
    # Products
    "stock": "in stock, available, availability, do you have, do you sell, do you carry, out of "
    "stock, back in stock, restock, sold out, you offer, do you stock",
    "attribute": "what size, what sizes, what color, what colors, what colour, what colours, "
    "material, made of, made from, waterproof, water resistant, compatible, dimensions, weight, "
    "how big, how heavy, warranty, battery life, how does it work, instructions, washable, "
    "specs, specifications, features, resolution, capacity, storage, come in, cheapest, "
    "most affordable, variants, variant, suitable for, which one, difference between, ingredients, "
    "options do, options are available, zoom, size chart, fit true, size guide, "
    "how many colors, how many sizes, most expensive, in the catalog, catalogue, many options, "
    "vegan, organic, dishwasher safe, does it come, does it have, does it work",
    "price": "how much is, how much does, how much are, price, prices, cost of, discount*, "
    "coupon*, promo*, on sale, price of, how much do, how much for, "
    "price match, cost, costs",
    "insteadof": "instead of, rather than",
    "variant": "size, sizes, color, colour, colors, colours, variant, version, model",
}

# Everyday words that are a letter away from a word above and yet mean themselves.
KNOWN: Final = listed(
    """
    advisory alert alternative america appealing attendants batter battle blocks boost boring
    bounce broke brought carrie carried carries chances charter cheated cheating cheer choice chose
    cleaned closer
    closet cloud coasts complete compliant condition conform considers contract costing crate
    curse demeaning detective difficult direct expires extensive failures falling feelings filed
    filing filling greeting handing healing hearing heating humane indexed interest issuer
    latter leading lengthy lodging manage managed messing mission monkey morality packing parent
    patent persona phones playing please praying produce produces promise promises property
    qualify refers relieved removed resort reverse revolution ruining scattered seating shopped
    shopping singing sitting skilled skipping snowing spending stated states stating stats
    statue stepped stranger subject suppose sweets table terribly thinks thorough though thought
    tower tricked wanting wasting weather weigh weight wording writing
    """
)

# Lines of `weight concept concept …`: all must occur in one sentence, none marked with `!` may.
RULES: Final[dict[IntentName, str]] = {
    IntentName.DELIVERY_STATUS: """
        3.5 carrier
        -5 sendto
        3.5 when parcel arrive
        2.5 when item arrive
        2 when arrive
        3.5 expect
        1.5 expect item
        1 expect parcel
        1 when parcel
        3 when card arrive
        4 options
        1.5 arrive parcel
        2 where parcel
        1 where item
        1 when order arrive
        -2 notyet late
        -3 refund
        -3 return
        -2 twice charge
    """,
    IntentName.DELIVERY_DELAY: """
        -3 callback
        4 notyet arrive parcel
        3.5 notyet arrive card
        3 notyet arrive item
        3 notyet arrive
        3.5 notyet arrive order
        4 late parcel
        3.5 late order
        2 late arrive
        2.5 late card !charge
        1.5 late item
        2 where card
        3 notyet where
        2.5 notyet parcel
        2.5 notyet card !declined !payment !charge
        2 late notyet
        1.5 late where
        2.5 late !charge !payment !card
        -4 refund
        -2 options
        -3 charge
        -3 payment
        -3 declined
    """,
    IntentName.ORDER_STATUS: """
        5 list orders !cancel !return !refund !exchange
        -4 sendto
        5 status order
        1.2 order_id
        3 status parcel
        4 where order
        3.5 where parcel
        2.5 where item !card
        1 order when
        -1.5 refund
        -2 cancel
        -2 return
        -2 when parcel arrive
        -1 notyet late
    """,
    IntentName.CANCEL_ORDER: """
        5 cancel order
        4 cancel parcel
        3 cancel item
        2 cancel
        4 exit fee
        4 exit charge
        3.5 cancel fee
        3 exit
        -4 account cancel
        -5 newsletter
        -3 card cancel !order
        -3 payment cancel !order
    """,
    IntentName.MODIFY_ORDER: """
        5 sendto
        4 modify order
        4 switch order
        3 addto order
        1.5 addto order item
        4 pending modify
        4 pending switch
        3 pending addto
        3 switch item
        2.5 modify item !personal
        1.5 addto item pending
        3 modify payment order
        2 address order modify
        3 address order switch
        4 address pending modify
        3.5 address pending switch
        1.5 modify variant
        2.5 insteadof item
        2 insteadof pending
        -2 account
        -3 newsletter
        -2 exchange delivered
        -3 password
    """,
    IntentName.RETURN_REQUEST: """
        -3 getin instead
        4 return item
        4 return order
        3 return parcel
        3 return
        4 refund policy
        3 refund
        1.5 refund item
        1.5 refund order
        3 broken item delivered
        2.5 broken delivered
        2 broken item
        3 broken refund
        1 cancel refund
        -2 waiting refund
        -2 reverted payment
    """,
    IntentName.REFUND_STATUS: """
        5 waiting refund
        3 waiting refund return
        2.5 refund status
        3 refund where
        2.5 refund when
        4 refund notyet
        2 refund arrive
        4 refund statement
        -2 return item
    """,
    IntentName.EXCHANGE: """
        6 getin instead !cancel !refund !pending !modify !order !sendto !insteadof
        6 exchange
        2 exchange item
        1.5 switch delivered item
        2.5 switch broken
        4 switch variant !pending !order
        -3 refund !item
    """,
    IntentName.BILLING_ISSUE: """
        4 invoice
        2 invoice owe
        4 household owe
        3.5 household when
        5 charge twice
        4 twice payment
        4 twice statement
        2.5 fee
        2.5 fee charge
        2.5 fee card
        2 fee statement
        2.5 charge
        1.5 charge card
        1.5 charge statement
        4 unknown payment
        4 unknown charge
        3 unknown card
        3 unknown statement
        2 unknown order charge
        2 charge order
        1 owe
        -4 exit
        -2 declined payment
        -2 refund waiting
        -3 invoice payment !twice !charge
        -2 household payment
    """,
    IntentName.PAYMENT_ISSUE: """
        -4 pastprice !household
        5 declined payment
        5 declined card
        3 declined statement
        4 trouble payment
        3 trouble card payment
        5 payment method
        3 payment accept
        4 paywith accept
        3.5 stuck_payment payment
        2.5 stuck_payment charge
        2 stuck_payment card
        2 stuck_payment order statement
        2 stuck_payment order !when
        4 reverted payment
        2.5 reverted card
        3 household payment
        3 invoice payment
        1.5 payment
        1 card trouble
        1.5 declined
        2 when payment
        -4 refund waiting
        -3 twice
        -3 unknown
        -2 fee
        -3 order modify payment
    """,
    IntentName.ACCOUNT_ACCESS: """
        5 password
        3 password forgot
        4 login
        3 login trouble
        4 register
        3 register trouble
        4 create account
        4 close account
        5 blocked account
        3 blocked login
        4 identity
        2 identity trouble
        4 account switch
        4 account changeto
        2 account changeto tier
        4 tier modify account switch
        3 tier account
        2 forgot account
        2.5 blocked
        2 account addto tier
        -4 newsletter
        -3 fee
        -3 order
        -3 account addto parcel
        -2 blocked card
        -2 create parcel
        -3 modify account !switch !password !login
    """,
    IntentName.PROFILE_UPDATE: """
        -5 callback
        -2 sendto
        4 modify address
        4 addto address
        3 switch address
        4 wrongly
        3 address trouble
        2 address
        5 modify personal
        4 switch personal
        3 addto personal
        4 personal trouble
        2 moved
        2 moved address
        2 moved modify
        4 modify account !switch
        2 modify account tier !switch
        3.5 called
        1 personal
        -4 address order
        -4 pending address
        -3 password
        -3 talk service
        -3 talk human
    """,
    IntentName.PRODUCT_QUESTION: """
        5 pastprice !household !fee !charge
        4.5 mine feature item !modify !exchange !return !broken !parcel
        4 attribute item
        4 stock item
        2.5 price item
        1.5 attribute
        2 stock
        1.5 price !household !invoice
        2 price attribute
        -4 order
        -2.5 return
        -3 refund
        -3 payment
        -3 account
        -3 exit
        -4 charge
        -2 parcel
        -2 arrive
        -3 card
        -2 household
        -4 review
        -3 options
        -3 invoice
        -3 service
        -3 human
        -5 exchange
        -3 pending
        -3 modify
    """,
    IntentName.COMPLAINT: """
        5 complain
        2 complain against
        2.5 upset
        2 upset service
        -2 upset refund
        -1 upset parcel
    """,
    IntentName.HUMAN_AGENT: """
        5 callback
        6 talk human
        5 talk service
        4 service
        3 service hours
        1.5 human
        2.5 human talk service
        -4 areyou bot
        -4 unknown
        -2 called
    """,
    IntentName.FEEDBACK_THANKS: """
        4 thanks
        5 review
        2 review service
        1 praise thanks
        1.5 praise !item !order
        -1 thanks order
        -1 thanks item
        -2 complain
        -6 upset
    """,
    IntentName.OTHER: """
        3.5 smalltalk
        4 opening
        5 newsletter
        5 buy some
        1 buy item
        -4 options
        3.5 buy
        2 some order item
        5 areyou bot
        2.5 greeting
        3 bye
        4 bye enjoyed
        4.5 repeat
        2 areyou
        4 ability
        2 yesno
        1.5 areyou greeting
        -4 areyou order
        -3 ability order
        -3 ability account
        -2 refund
        -3 cancel order
        -2 return
        -3 parcel arrive
        -2 greeting order
        -2 complain
        -2 modify
        -3 charge
        -3 declined
        -2 talk human !bot
    """,
}

# Weak alone: a greeting, a thank-you or a bad mood around a wish does not hide the wish.
AROUND: Final = frozenset({IntentName.OTHER, IntentName.FEEDBACK_THANKS, IntentName.COMPLAINT})

DESCRIPTIONS: Final[dict[IntentName, str]] = {
    IntentName.DELIVERY_STATUS: "where a parcel is, when it will arrive, which ways of delivery "
    "there are: 'when will my package get here', 'do you ship to Canada'",
    IntentName.DELIVERY_DELAY: "a parcel is late, stuck or has not arrived when it should: "
    "'my package is three days late', 'it still has not come'",
    IntentName.ORDER_STATUS: "how far an order has got, or track an order: 'status of order "
    "#W1234567', 'has my order shipped yet', 'track my order'",
    IntentName.CANCEL_ORDER: "cancel an order, or what that costs: 'cancel my order', 'I no longer "
    "want it', 'cancellation fee'",
    IntentName.MODIFY_ORDER: "change an order that has not shipped: items, variant, payment or "
    "its delivery address: 'add an item to my order', 'ship order #W1234567 elsewhere'",
    IntentName.RETURN_REQUEST: "send something back or get money back: 'I want to return the "
    "lamp', 'it arrived broken', 'I want a refund', 'what is your refund policy'",
    IntentName.REFUND_STATUS: "a refund that was already asked for or promised: 'where is my "
    "refund', 'the money is not in my account yet'",
    IntentName.EXCHANGE: "swap something received for another size, colour or model: 'exchange "
    "the jacket for a larger one'",
    IntentName.BILLING_ISSUE: "charges, fees and invoices: 'I was charged twice', 'a payment I "
    "did not make', 'send me my invoice', 'when is my bill due'",
    IntentName.PAYMENT_ISSUE: "paying: 'my card was declined', 'the payment is pending', 'which "
    "payment methods do you take', 'pay my bill'",
    IntentName.ACCOUNT_ACCESS: "getting in, opening, closing or switching an account: 'forgot my "
    "password', 'my account is locked', 'delete my account', 'sign-up error'",
    IntentName.PROFILE_UPDATE: "change the customer's own data: 'change my address', 'new phone "
    "number', 'my name is now', 'set up a delivery address'",
    IntentName.PRODUCT_QUESTION: "about goods before or after buying: 'is it waterproof', 'do you "
    "have it in blue', 'how much is the kettle'",
    IntentName.COMPLAINT: "a complaint about the company or its service with no other wish: 'I "
    "want to file a complaint', 'terrible service'",
    IntentName.HUMAN_AGENT: "speak with a person, or how to reach customer service: 'get me a "
    "human', 'what hours can I call'",
    IntentName.FEEDBACK_THANKS: "thanks, praise or leaving a review: 'thank you', 'where can I "
    "leave feedback'",
    IntentName.OTHER: "anything else: greetings, small talk, a bare yes or no, newsletter, how to "
    "place an order, questions that have nothing to do with the shop",
}
