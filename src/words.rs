//! Words as the checks compare them: lower case, without punctuation or endings.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::numbers::is_number;

/// The words of a text, lower case, in order: letters, digits and inner apostrophes; hyphens part them.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .map(|word| word.trim_matches(['\'', '’']))
        .filter(|word| !word.is_empty())
        .map(|word| strip_possessive(&word.to_lowercase()).to_string())
}

fn strip_possessive(word: &str) -> &str {
    word.strip_suffix("'s")
        .or_else(|| word.strip_suffix("’s"))
        .unwrap_or(word)
}

/// A word without its English ending, crudely: `towers` and `tower`, `replacing` and `replaced` become alike.
pub fn stem(word: &str) -> String {
    /// Endings, and the fewest letters that may be left before them.
    const ENDINGS: [(&str, usize); 10] = [
        ("ies", 3),
        ("ied", 3),
        ("ings", 3),
        ("ing", 3),
        ("ers", 3),
        ("ed", 3),
        ("es", 3),
        ("er", 3),
        ("ly", 5),
        ("s", 3),
    ];
    let mut stem = word;
    for (ending, least) in ENDINGS {
        if let Some(rest) = stem.strip_suffix(ending)
            && rest.chars().count() >= least
        {
            stem = rest;
            break;
        }
    }
    stem.strip_suffix('e')
        .or_else(|| stem.strip_suffix('y'))
        .filter(|rest| rest.chars().count() >= 3)
        .unwrap_or(stem)
        .to_string()
}

/// The stems of a text's content words, in order; numbers are left out, for they are compared by value.
pub fn content(text: &str) -> impl Iterator<Item = String> + '_ {
    words(text)
        .filter(|word| !is_stopword(word) && !is_number(word))
        .map(|word| stem(&word))
}

/// Whether a text begins by pointing back at something said before it.
pub fn points_back(text: &str) -> bool {
    const BACK: [&str; 20] = [
        "it", "it's", "he", "he's", "she", "she's", "they", "they're", "this", "that", "that's",
        "these", "those", "then", "there", "here", "which", "because", "or", "also",
    ];
    words(&text.replace('’', "'"))
        .next()
        .is_some_and(|word| BACK.contains(&word.as_str()))
}

/// A text without the conjunction it begins with, as one quotes: "And the rope broke" becomes "The rope broke".
pub fn without_conjunction(text: &str) -> String {
    for conjunction in [
        "And ", "But ", "So ", "Well, ", "And so ", "Now, ", "Yes, ", "No, ",
    ] {
        if let Some(rest) = text.strip_prefix(conjunction) {
            return without_conjunction(&capitalize(rest));
        }
    }
    text.to_string()
}

/// A text without the double marks of quotations in it, for one that is quoted or made a title itself, and with single spaces.
pub fn without_quotation_marks(text: &str) -> String {
    let text = text.replace(['"', '“', '”', '„', '«', '»'], "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text with its first letter in upper case.
pub fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Whether a word says that somebody says something: what they say has to be in the text, not that it is said.
pub fn is_reporting(word: &str) -> bool {
    const VERBS: [&str; 46] = [
        "add",
        "admit",
        "advise",
        "agree",
        "agreed",
        "announce",
        "answer",
        "argue",
        "ask",
        "call",
        "caution",
        "claim",
        "compare",
        "conclude",
        "confirm",
        "contrast",
        "decide",
        "describe",
        "discuss",
        "doubt",
        "explain",
        "expect",
        "hope",
        "inform",
        "insist",
        "introduce",
        "mention",
        "note",
        "object",
        "point",
        "present",
        "propose",
        "recall",
        "recommend",
        "remark",
        "reply",
        "report",
        "say",
        "state",
        "stress",
        "suggest",
        "tell",
        "think",
        "warn",
        "wonder",
        "speaker",
    ];
    static STEMS: LazyLock<HashSet<String>> =
        LazyLock::new(|| VERBS.iter().map(|verb| stem(verb)).collect());
    STEMS.contains(&stem(&word.to_lowercase()))
}

/// Words that carry no topic of their own.
pub fn is_stopword(word: &str) -> bool {
    const STOPWORDS: &str = " a about above after again against ago all almost along already also although always am an \
        and another any anyone anything are aren't around as ask asked at away back be became because become been \
        before began begin behind being below between both bring but by call called came can can't cannot come comes \
        could couldn't did didn't do does doesn't doing don't done down during each either else enough even ever every \
        everybody everyone everything exactly far few find first for found from gave get gets getting give go goes going \
        gone got had hadn't happen happened has hasn't have haven't having he he'd he'll he's hear heard her here herself \
        him himself his how however i i'd i'll i'm i've if in indeed instead into is isn't it it'd it'll it's its itself \
        just keep kept kind know knew known last least less let let's like little long look lot made make makes making \
        many may maybe me mean means might mine more most much must my myself name near need never new next no nobody \
        none nor not nothing now o'clock of off often oh okay on once one only onto or other others our ours out over own part \
        people perhaps please put quite rather really right said same saw say saying says second see seem seems seen \
        several shall she she'd she'll she's should shouldn't since so some somebody someone something sometimes somewhere \
        soon sort still such take taken takes tell than thank that that'll that's the their them themselves then there \
        there's these they they'd they'll they're they've thing things think third this those though thought through to \
        together told too took towards tried try turn two uh um under until up upon us use used very want wanted was \
        wasn't way we we'd we'll we're we've well went were weren't what what's whatever when where whether which while \
        who who's whole whom whose why will with within without won't wonder would wouldn't yes yet you you'd you'll \
        you're you've your yours yourself \
        ah alright aye eh er erm ha hey hm hmm huh kinda mhm mm mmm ok sorta uhhuh uh-huh yea yeah yep yup ";
    static SET: LazyLock<HashSet<&str>> =
        LazyLock::new(|| STOPWORDS.split_ascii_whitespace().collect());
    match word.contains('’') {
        // Typographic apostrophes are looked up as plain ones.
        true => SET.contains(word.replace('’', "'").as_str()),
        false => SET.contains(word),
    }
}

/// Whether a text speaks as or to somebody: a summary speaks about them.
pub fn is_first_or_second_person(text: &str) -> bool {
    words(text).any(|word| {
        is_first_person(&word)
            || ["you", "your", "yours", "let"].contains(&before_apostrophe(&word))
    })
}

/// Whether somebody speaks of himself by a word of [`words`].
pub fn is_first_person(word: &str) -> bool {
    const PERSONS: [&str; 9] = ["i", "me", "my", "mine", "myself", "we", "us", "our", "ours"];
    PERSONS.contains(&before_apostrophe(word))
}

fn before_apostrophe(word: &str) -> &str {
    word.split(['\'', '’']).next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_case_punctuation_and_possessives() {
        let found = words("“Walter Pym’s clock,” she said; it's 1,900-odd kilos.");
        assert_eq!(
            found.collect::<Vec<_>>(),
            [
                "walter", "pym", "clock", "she", "said", "it", "1", "900", "odd", "kilos"
            ]
        );
    }

    #[test]
    fn endings_do_not_part_words() {
        for (a, b) in [
            ("towers", "tower"),
            ("replacing", "replaced"),
            ("replace", "replaces"),
            ("families", "family"),
            ("quickly", "quick"),
        ] {
            assert_eq!(stem(a), stem(b), "{a} {b}");
        }
        assert_ne!(stem("clock"), stem("cloth"));
    }

    #[test]
    fn content_is_stems() {
        let found = content("The two ropes of the towers were replaced in twenty minutes.");
        assert_eq!(found.collect::<Vec<_>>(), ["rop", "tow", "replac", "minut"]);
    }

    #[test]
    fn verbs_of_saying_are_known_in_all_forms() {
        for word in [
            "says",
            "argued",
            "explaining",
            "Replies",
            "proposes",
            "agreed",
        ] {
            assert!(is_reporting(word), "{word}");
        }
        assert!(!is_reporting("winds"));
    }

    #[test]
    fn quotes_begin_with_what_they_say() {
        assert_eq!(
            without_conjunction("And so the rope broke."),
            "The rope broke."
        );
        assert_eq!(without_conjunction("Andrew came."), "Andrew came.");
        assert_eq!(
            without_quotation_marks("Il dit : « Viens. »"),
            "Il dit : Viens."
        );
        assert!(points_back("That’s the clock."));
        assert!(!points_back("The clock stopped."));
    }

    #[test]
    fn persons_are_told_apart() {
        assert!(is_first_or_second_person("And I’ve missed one."));
        assert!(is_first_or_second_person("That is your clock."));
        assert!(is_first_or_second_person("Let's talk about bells."));
        assert!(!is_first_or_second_person(
            "It is her clock; the iron is old."
        ));
    }
}
