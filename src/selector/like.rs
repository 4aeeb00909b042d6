//! The pattern of LIKE: `%` is any text, `_` any one character, ESCAPE makes them ordinary.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Like {
    /// What stands before the first `%`, between two, and behind the last.
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Plain(String),
    /// With a `_`, here `None`.
    Masked(Vec<Option<char>>),
}

impl Like {
    /// The escape character counts only before `%`, `_` and itself.
    pub(super) fn new(pattern: &str, escape: Option<char>) -> Self {
        let mut segments = Vec::new();
        let mut segment = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            let escaped = chars.next_if(|next| {
                Some(c) == escape && (matches!(next, '%' | '_') || Some(*next) == escape)
            });
            match (escaped, c) {
                (Some(escaped), _) => segment.push(Some(escaped)),
                (None, '%') => segments.push(Segment::new(std::mem::take(&mut segment))),
                (None, '_') => segment.push(None),
                (None, c) => segment.push(Some(c)),
            }
        }
        segments.push(Segment::new(segment));
        Self { segments }
    }

    /// Whether the whole of `text` fits.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, others)) = self.segments.split_first() else { return text.is_empty() };
        let Some(mut rest) = first.strip_from(text) else { return false };
        let Some((last, between)) = others.split_last() else { return rest.is_empty() };
        for segment in between {
            match segment.find_in(rest) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        last.ends(rest)
    }
}

impl Segment {
    fn new(parts: Vec<Option<char>>) -> Self {
        match parts.iter().copied().collect() {
            Some(plain) => Self::Plain(plain),
            None => Self::Masked(parts),
        }
    }

    /// What stands behind this segment, if `text` begins with it.
    fn strip_from<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Plain(plain) => text.strip_prefix(plain.as_str()),
            Self::Masked(parts) => {
                let mut chars = text.chars();
                let fits = |part: &Option<char>| match (part, chars.next()) {
                    (Some(part), Some(c)) => *part == c,
                    (None, Some(_)) => true,
                    (_, None) => false,
                };
                parts.iter().all(fits).then_some(chars.as_str())
            }
        }
    }

    /// What stands behind the first place where this segment fits.
    fn find_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Plain(plain) => text.split_once(plain.as_str()).map(|(_, behind)| behind),
            Self::Masked(_) => text
                .char_indices()
                .find_map(|(at, _)| text.get(at..).and_then(|from| self.strip_from(from))),
        }
    }

    fn ends(&self, text: &str) -> bool {
        match self {
            Self::Plain(plain) => text.ends_with(plain.as_str()),
            Self::Masked(parts) => {
                let last = text.char_indices().rev().nth(parts.len() - 1);
                last.and_then(|(at, _)| text.get(at..))
                    .and_then(|tail| self.strip_from(tail))
                    .is_some_and(str::is_empty)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, fits: &[&str], fits_not: &[&str]) {
        let like = Like::new(pattern, Some('!'));
        for text in fits {
            assert!(like.matches(text), "{text:?} LIKE {pattern:?}");
        }
        for text in fits_not {
            assert!(!like.matches(text), "{text:?} NOT LIKE {pattern:?}");
        }
    }

    #[test]
    fn percent_is_any_text_and_underscore_one_character() {
        check("", &[""], &["a"]);
        check("%", &["", "a", "a\nb"], &[]);
        check("a", &["a"], &["", "A", "aa"]);
        check("a%", &["a", "ab"], &["", "ba"]);
        check("%a", &["a", "ba"], &["ab"]);
        check("%a%", &["a", "bab"], &["", "b"]);
        check("a%a", &["aa", "aba"], &["a"]);
        check("ab%ba", &["abba"], &["aba"]);
        check("%ab%ab%", &["abab", "xabxabx"], &["ab", "aab"]);
        check("_", &["a", "\n", "😀"], &["", "aa"]);
        check("%__", &["aa", "aaa"], &["a"]);
        check("%a_c%d_", &["xabcd1", "abcabcdd"], &["abcd", "acd1"]);
    }

    #[test]
    fn the_escape_character_counts_before_wildcards_and_itself_only() {
        check("!%", &["%"], &["a", "!%"]);
        check("!_!!", &["_!"], &["a!"]);
        check("!a", &["!a"], &["a"]);
        check("a!", &["a!"], &["a"]);
        assert!(Like::new("%%", Some('%')).matches("%"));
        assert!(Like::new("%_%", Some('%')).matches("_foo"));
    }
}
