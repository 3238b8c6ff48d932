"""The words of the embedded grammar, by topic; how they combine is in `grammar`.

Nouns end in `~` where they take no "a" (mass nouns and plurals). An irregular form follows a colon:
`noun:plural`, `verb:third person:past`. A subject or a verb belongs to one topic alone, so that
every sentence says which topic it is of.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """One topic: its share of the sentences, and its words (separated by spaces or bars)."""

    weight: float
    subjects: str
    verbs: dict[str, str]
    """Verb → the objects that it takes."""
    attributes: str
    """Phrases after the subject; their nouns' number says nothing about the verb's."""
    places: str


TOPICS: dict[str, Topic] = {
    "kitchen": Topic(
        weight=0.30,
        subjects="cook baker waiter chef guest butcher maid host",
        verbs={
            "bake": "bread~ cake pie bun tart",
            "stir": "soup~ stew~ sauce tea~ batter~",
            "slice": "bread~ ham~ onion cake pie",
            "taste": "soup~ stew~ sauce pie ham~",
            "serve": "soup~ cake tea~ pie stew~",
            "wash": "pan plate knife cup pot",
            "boil": "egg rice~ tea~ soup~ pot",
            "order": "tea~ pie cake soup~ egg",
        },
        attributes="with the apron|with the spoons|from the inn|near the ovens",
        places="in the kitchen|at the stove|beside the oven|near the table|behind the counter",
    ),
    "farm": Topic(
        weight=0.22,
        subjects="farmer shepherd rider neighbour hunter miller peasant rancher",
        verbs={
            "feed::fed": "cow pig hen horse goat",
            "milk": "cow goat sheep~ mare calf",
            "plant": "wheat~ corn~ bean tree rye~",
            "harvest": "wheat~ corn~ bean hay~ rye~",
            "lead::led": "horse cow goat calf mare",
            "chase": "hen pig goat fox calf",
            "mend": "fence gate cart barn stall",
            "sell::sold": "cow pig hay~ wheat~ cart",
        },
        attributes="with the dogs|with the hat|from the valley|near the stables",
        places="in the barn|by the mill|across the field|on the hill|near the pond",
    ),
    "school": Topic(
        weight=0.16,
        subjects="teacher pupil student writer librarian scholar tutor poet",
        verbs={
            "write::wrote": "essay poem word story answer",
            "learn": "poem lesson rule word story",
            "explain": "rule lesson theorem poem answer",
            "study": "map book lesson theorem rule",
            "borrow": "book pen ruler map atlas",
            "correct": "essay test answer word map",
            "copy": "word page poem map test",
            "solve": "problem puzzle riddle test theorem",
        },
        attributes="with the glasses|with the pencil|from the college|near the lamps",
        places="in the classroom|at the desk|in the library|on the bench|by the window",
    ),
    "sea": Topic(
        weight=0.12,
        subjects="sailor captain fisherman:fishermen pirate diver pilot swimmer mate",
        verbs={
            "steer": "ship boat raft yacht ferry",
            "repair": "sail net mast boat rudder",
            "catch::caught": "fish crab eel shark squid",
            "lower": "anchor sail net boat rope",
            "spot:spots:spotted": "whale island ship shark reef",
            "row": "boat raft canoe ferry dinghy",
            "follow": "whale coast ship shark current",
            "board": "ship yacht ferry boat wreck",
        },
        attributes="with the ropes|with the beard|from the port|near the cliffs",
        places="in the harbour|off the shore|on the deck|near the dock|under the bridge",
    ),
    "hospital": Topic(
        weight=0.08,
        subjects="doctor nurse surgeon patient matron dentist medic healer",
        verbs={
            "examine": "wound tooth lung heart knee",
            "clean": "wound tooth needle mask cut",
            "treat": "fever cough rash burn wound",
            "bandage": "knee wound arm leg hand",
            "need": "pill cream~ drug mask tonic",
            "swallow": "pill syrup~ drug tonic pea",
            "describe": "pain fever cough rash ache",
            "check": "pulse fever heart lung scar",
        },
        attributes="with the gloves|with the badge|from the clinic|near the beds",
        places="in the ward|at the hospital|beside the bed|by the door|near the lift",
    ),
    "music": Topic(
        weight=0.06,
        subjects="singer pianist drummer composer fiddler artist dancer band",
        verbs={
            "play": "sonata waltz violin flute march",
            "sing::sang": "song ballad aria hymn carol",
            "tune": "violin harp guitar piano flute",
            "rehearse": "sonata duet aria solo opera",
            "compose": "waltz hymn solo opera march",
            "record": "song ballad album duet sonata",
            "hum:hums:hummed": "tango song carol waltz ballad",
            "dance": "tango waltz polka march ballet",
        },
        attributes="with the horns|with the drum|from the choir|near the cellos",
        places="on the stage|in the hall|at the concert|behind the curtain|in the studio",
    ),
    "court": Topic(
        weight=0.04,
        subjects="judge lawyer witness juror clerk thief:thieves sheriff banker",
        verbs={
            "accuse": "rogue robber spy liar forger",
            "deny": "charge claim theft crime fraud",
            "question": "spy alibi motive claim robber",
            "sign": "deal verdict warrant plea deed",
            "dismiss": "case appeal claim charge plea",
            "present": "proof~ evidence~ alibi motive deed",
            "admit:admits:admitted": "crime theft fraud murder lie",
            "announce": "verdict fine ruling appeal trial",
        },
        attributes="with the papers|with the wig|from the prison|near the guards",
        places="in the courtroom|before the jury|at the hearing|in the cell|outside the court",
    ),
    "sky": Topic(
        weight=0.02,
        subjects="astronomer pioneer robot rover gazer scientist cadet expert",
        verbs={
            "observe": "comet planet moon star nova",
            "measure": "orbit crater planet moon star",
            "film": "eclipse moon comet nova meteor",
            "find::found": "planet comet star moon crater",
            "track": "rocket probe meteor comet orbit",
            "launch": "rocket probe drone balloon capsule",
            "design": "rocket probe lens mirror capsule",
            "admire": "eclipse meteor moon star aurora",
        },
        attributes="with the lenses|with the chart|from the base|near the domes",
        places="on the roof|at the station|in the dark|from the tower|on the mountain",
    ),
}

SUBJECT_ADJECTIVES = ["young", "old", "tired", "quiet", "careful", "happy", "proud", "clever"]
OBJECT_ADJECTIVES = ["small", "new", "old", "good", "strange", "plain"]
TIMES = {
    "past": ["yesterday", "last night", "last week", "two days ago"],
    "present": ["every day", "every morning", "on Sundays", "each week"],
    "future": ["tomorrow", "tonight", "next week", "on Monday"],
}
