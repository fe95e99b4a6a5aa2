//! How a report names who speaks: by name, or, where a transcript has a role in its place, with an article: "Guest" becomes "the guest". English only.

/// Nouns that stand for a name. "Speaker" is none: where others are named, nobody is "the speaker".
const ROLES: [&str; 30] = [
    "announcer",
    "attendee",
    "audience",
    "caller",
    "chair",
    "chairman",
    "chairperson",
    "chairwoman",
    "clerk",
    "client",
    "customer",
    "expert",
    "facilitator",
    "guest",
    "host",
    "instructor",
    "interviewee",
    "interviewer",
    "lecturer",
    "moderator",
    "narrator",
    "panelist",
    "participant",
    "patient",
    "presenter",
    "questioner",
    "reporter",
    "student",
    "teacher",
    "therapist",
];

/// A report in which a speaker who is known by a role only is named as one says it; models take the label now for a name, now for
/// a noun.
pub fn with_article(report: &str, speaker: Option<&str>) -> String {
    let Some(label) = speaker.filter(|label| ROLES.contains(&label.to_lowercase().as_str())) else {
        return report.into();
    };
    let role = label.to_lowercase();
    let mut named = Vec::<String>::new();
    for word in report.split(' ') {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let bare = bare
            .strip_suffix("'s")
            .or(bare.strip_suffix("’s"))
            .unwrap_or(bare);
        if bare != label {
            named.push(word.into());
            continue;
        }
        match named.last().map(String::as_str) {
            None => named.push("The".into()),
            Some("The" | "the" | "A" | "a" | "this" | "that" | "his" | "her" | "their") => {}
            Some(_) => named.push("the".into()),
        }
        named.push(word.replacen(label, &role, 1));
    }
    named.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_an_article_and_a_name_has_none() {
        for (report, speaker, named) in [
            (
                "Guest says that it fell.",
                "Guest",
                "The guest says that it fell.",
            ),
            (
                "The Guest says that it fell.",
                "Guest",
                "The guest says that it fell.",
            ),
            (
                "It fell, Guest says, on the Guest's foot.",
                "Guest",
                "It fell, the guest says, on the guest's foot.",
            ),
            (
                "It fell on the host, Host says.",
                "Host",
                "It fell on the host, the host says.",
            ),
            (
                "Ann says that Guest is late.",
                "Ann",
                "Ann says that Guest is late.",
            ),
            ("It fell.", "Guest", "It fell."),
        ] {
            assert_eq!(with_article(report, Some(speaker)), named);
        }
        assert_eq!(with_article("Guest fell.", None), "Guest fell.");
    }
}
