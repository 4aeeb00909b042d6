//! Regular expressions of REGEX, REPLACE and SPLIT: Java's syntax and Java's way of walking a text, on
//! an engine that takes linear time.
//!
//! What such an engine cannot do (look-around, back references, `\G`) is refused by name when the
//! selector is parsed.

use regex::{Captures, Regex, RegexBuilder};

use super::value::MADE_TEXT_BYTES_MAX;

/// The largest compiled expression in bytes, and the same again for what running it keeps.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Most items that SPLIT makes; a text with more is unknown.
const LIST_ITEMS_MAX: usize = 1 << 16;

const LINE_ENDS: &str = r"\n\r\x{85}\x{2028}\x{2029}";

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles Java's spelling of an expression; the error is for people.
    pub(super) fn new(java: &str) -> Result<Self, String> {
        let translated = Translation::of(java)?;
        let mut builder = RegexBuilder::new(&translated);
        builder.size_limit(PROGRAM_BYTES_MAX).dfa_size_limit(PROGRAM_BYTES_MAX);
        let regex = builder.build();
        regex.map(Self).map_err(|error| reason(&error))
    }

    /// Whether the expression fits anywhere in `text`.
    pub(super) fn is_found_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// Java's `replaceAll`; `None` where `template` is none or the result is too long.
    pub(super) fn replace_all(&self, text: &str, template: &str) -> Option<String> {
        let mut made = String::new();
        let mut copied = 0;
        for found in self.walk(text) {
            let whole = found.get(0)?;
            made.push_str(text.get(copied..whole.start())?);
            self.expand(&found, template, &mut made)?;
            copied = whole.end();
            if made.len() > MADE_TEXT_BYTES_MAX {
                return None;
            }
        }
        made.push_str(text.get(copied..)?);
        (made.len() <= MADE_TEXT_BYTES_MAX).then_some(made)
    }

    /// Java's `String.split`: with `limit` 0 empty items at the end are left out, a positive one is
    /// the most items there are. `None` where there are too many.
    pub(super) fn split<'t>(&self, text: &'t str, limit: i32) -> Option<Vec<&'t str>> {
        let most = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let mut items = Vec::new();
        let mut copied = 0;
        for found in self.walk(text) {
            let whole = found.get(0)?;
            if most.is_some_and(|most| items.len() + 1 >= most) {
                break;
            }
            if whole.end() == 0 {
                continue;
            }
            items.push(text.get(copied..whole.start())?);
            copied = whole.end();
            if items.len() >= LIST_ITEMS_MAX {
                return None;
            }
        }
        let split_at_all = copied > 0;
        items.push(text.get(copied..)?);
        while limit == 0 && split_at_all && items.last().is_some_and(|last| last.is_empty()) {
            items.pop();
        }
        Some(items)
    }

    /// Every fit as Java's `find` visits them: unlike the engine's own iterator also an empty one
    /// where the fit before it ended.
    fn walk<'t>(&self, text: &'t str) -> impl Iterator<Item = Captures<'t>> {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let found = self.0.captures_at(text, next?)?;
            let whole = found.get(0)?;
            next = Some(whole.end());
            if whole.is_empty() {
                let step = text.get(whole.end()..).and_then(|rest| rest.chars().next());
                next = step.map(|c| whole.end() + c.len_utf8());
            }
            Some(found)
        })
    }

    /// Appends `template` with `$1`, `${name}` and `\` resolved as `Matcher.appendReplacement` does.
    fn expand(&self, found: &Captures<'_>, template: &str, made: &mut String) -> Option<()> {
        let mut chars = template.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => made.push(chars.next()?),
                '$' => {
                    let rest = chars.as_str();
                    let (group, behind) = self.reference(rest)?;
                    let group = match group {
                        Reference::Number(number) => found.get(number),
                        Reference::Name(name) => found.name(name),
                    };
                    made.push_str(group.map_or("", |group| group.as_str()));
                    chars = behind.chars();
                }
                c => made.push(c),
            }
        }
        Some(())
    }

    /// Reads the group behind a `$`, as many digits as name a group there is.
    fn reference<'t>(&self, text: &'t str) -> Option<(Reference<'t>, &'t str)> {
        if let Some(named) = text.strip_prefix('{') {
            let (name, behind) = named.split_once('}')?;
            let known = self.0.capture_names().flatten().any(|known| known == name);
            return known.then_some((Reference::Name(name), behind));
        }
        let mut number = None;
        let mut behind = text;
        for c in text.chars() {
            let Some(digit) = c.to_digit(10) else { break };
            let longer = number.unwrap_or(0) * 10 + digit as usize;
            if longer >= self.0.captures_len() {
                break;
            }
            number = Some(longer);
            behind = behind.get(1..)?;
        }
        number.map(|number| (Reference::Number(number), behind))
    }
}

enum Reference<'t> {
    Number(usize),
    Name(&'t str),
}

fn reason(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(limit) = error {
        return format!("compiles to more than {limit} bytes");
    }
    // The engine draws the place below the expression, which is not the text the user wrote.
    error.to_string().lines().last().unwrap_or_default().replace("error: ", "")
}

/// Java's spelling on its way to the engine's.
struct Translation<'j> {
    java: std::iter::Peekable<std::str::Chars<'j>>,
    out: String,
    /// How many `[` are open.
    class_depth: u32,
    /// Set by `(?s)` and `(?m)`; where they are on, `.` and `$` mean the same to both.
    dot_all: bool,
    multi_line: bool,
}

impl<'j> Translation<'j> {
    fn of(java: &'j str) -> Result<String, String> {
        let mut it = Self {
            java: java.chars().peekable(),
            out: String::with_capacity(java.len() + 16),
            class_depth: 0,
            dot_all: false,
            multi_line: false,
        };
        while let Some(c) = it.java.next() {
            it.character(c)?;
        }
        Ok(it.out)
    }

    fn character(&mut self, c: char) -> Result<(), String> {
        match c {
            '\\' => return self.escape(),
            '[' => {
                self.class_depth += 1;
                self.out.push('[');
                // Behind these a bracket is a character of the class.
                for opening in ['^', ']'] {
                    self.out.extend(self.java.next_if_eq(&opening));
                }
            }
            ']' => {
                self.class_depth = self.class_depth.saturating_sub(1);
                self.out.push(']');
            }
            '~' if self.class_depth > 0 => self.out.push_str(r"\x{7E}"),
            '.' if self.class_depth == 0 && !self.dot_all => {
                self.out.push_str(&format!("[^{LINE_ENDS}]"));
            }
            '$' if self.class_depth == 0 && !self.multi_line => self.end_of_text(),
            '(' if self.class_depth == 0 => return self.group(),
            c => self.out.push(c),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&format!(r"\x{{{:X}}}", u32::from(c)));
    }

    /// Java's `$` and `\Z` also stand before a line end that closes the text.
    fn end_of_text(&mut self) {
        self.out.push_str(&format!(r"(?:(?:\r\n|[{LINE_ENDS}])?\z)"));
    }

    /// A set that works outside of brackets and inside.
    fn set(&mut self, negated: bool, members: &str) {
        self.out.push_str(&format!("[{}{members}]", if negated { "^" } else { "" }));
    }

    /// Reads the flags of `(?im-s)` and `(?im-s:`; other groups are the same in both.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.java.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        let mut on = true;
        while let Some(flag) = self.java.next_if(|c| c.is_ascii_alphabetic() || *c == '-') {
            match flag {
                '-' => on = false,
                's' => self.dot_all = on,
                'm' => self.multi_line = on,
                // Both are how the engine works anyway, or nearly.
                'u' => continue,
                'd' | 'U' => return Err(format!("flag {flag} is not supported")),
                _ => {}
            }
            self.out.push(flag);
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.java.next() else { return Err("ends with a backslash".to_owned()) };
        match c {
            'd' | 'D' => self.set(c == 'D', "0-9"),
            'w' | 'W' => self.set(c == 'W', "a-zA-Z0-9_"),
            's' | 'S' => self.set(c == 'S', r" \t\n\x0B\f\r"),
            'v' | 'V' => self.set(c == 'V', r"\n\x0B\f\r\x{85}\x{2028}\x{2029}"),
            'h' | 'H' => self.set(
                c == 'H',
                r" \t\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}",
            ),
            'R' => self.out.push_str(&format!(r"(?:\r\n|[\x0B\f{LINE_ENDS}])")),
            'Z' => self.end_of_text(),
            'G' => return Err(r"\G is not supported".to_owned()),
            'e' => self.literal('\x1B'),
            'c' => self.control()?,
            '0' => self.octal()?,
            'p' | 'P' => self.property(c == 'P'),
            'Q' => self.quotation(),
            c if c.is_ascii_alphanumeric() => self.out.push_str(&format!(r"\{c}")),
            c => self.literal(c),
        }
        Ok(())
    }

    fn control(&mut self) -> Result<(), String> {
        let Some(c) = self.java.next() else { return Err(r"\c names no character".to_owned()) };
        let controlled = char::from_u32(u32::from(c) ^ 64);
        self.literal(controlled.ok_or_else(|| format!(r"\c{c} is no control character"))?);
        Ok(())
    }

    /// `\0n`, `\0nn` and, up to 377, `\0mnn`.
    fn octal(&mut self) -> Result<(), String> {
        let mut value = None;
        while let Some(digit) = self.java.peek().and_then(|c| c.to_digit(8)) {
            let longer = value.unwrap_or(0) * 8 + digit;
            if longer > 0o377 {
                break;
            }
            value = Some(longer);
            self.java.next();
        }
        let c = value.and_then(char::from_u32).ok_or(r"\0 without octal digits")?;
        self.literal(c);
        Ok(())
    }

    /// `\Q` makes everything ordinary up to `\E` or the end.
    fn quotation(&mut self) {
        while let Some(c) = self.java.next() {
            if c == '\\' && self.java.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(c);
        }
    }

    /// `\p{Alpha}` and its like are of ASCII in Java; the others are Unicode's in both.
    fn property(&mut self, negated: bool) {
        let sign = if negated { 'P' } else { 'p' };
        self.out.push_str(&format!(r"\{sign}"));
        if self.java.next_if_eq(&'{').is_none() {
            return;
        }
        let mut name = String::new();
        while let Some(c) = self.java.next_if(|c| *c != '}') {
            name.push(c);
        }
        self.java.next();
        let posix = match name.as_str() {
            "Lower" | "Upper" | "ASCII" | "Alpha" | "Digit" | "Alnum" | "Punct" | "Graph"
            | "Print" | "Blank" | "Cntrl" | "XDigit" | "Space" => name.to_ascii_lowercase(),
            _ => return self.out.push_str(&format!("{{{name}}}")),
        };
        self.out.truncate(self.out.len() - 2);
        let not = if negated { "^" } else { "" };
        self.out.push_str(&format!("[[:{not}{posix}:]]"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(java: &str, text: &str) -> bool {
        Pattern::new(java).unwrap_or_else(|error| panic!("{java}: {error}")).is_found_in(text)
    }

    #[test]
    fn java_spellings_mean_what_they_mean_in_java() {
        assert!(found(r"^\d+$", "12") && !found(r"^\d+$", "\u{661}"));
        assert!(found(r"^[\w-]+$", "a-b_1") && !found(r"^\w$", "é") && found(r"^\W$", "é"));
        assert!(found(r"^[^\s]$", "é") && !found(r"\S", " \t"));
        assert!(found(r"^a$", "a\n") && found(r"^a\Z", "a\r\n") && !found(r"^a\z", "a\n"));
        assert!(!found("a.b", "a\nb") && !found("a.b", "a\rb") && found("(?s)a.b", "a\nb"));
        assert!(found("(?i)RED", "red") && found("(?m)^b$", "a\nb\nc"));
        assert!(found(r"^\Qa.b[\E.$", "a.b[c") && !found(r"^\Qa.b\E", "axb"));
        assert!(found(r"^\p{Alpha}\P{Alpha}[\p{Digit}x]$", "aéx") && found(r"^\p{Lu}\p{L}$", "Éé"));
        assert!(found(r"^\x41\u00e9\t\e\cA\0101$", "Aé\t\u{1b}\u{1}A"));
        assert!(found(r"^[a-z&&[^b]]$", "c") && !found("^[a-z&&[^b]]$", "b"));
        assert!(found(r"^[]a]$", "]") && found(r"^[^]a]$", "b") && found(r"^\<\-\é$", "<-é"));
        assert!(found("^(?<x>a)(?:b)$", "ab") && found("^a++$", "aa") && found("^[~a]$", "~"));
    }

    #[test]
    fn what_needs_backtracking_is_refused_by_name() {
        for (java, why) in [
            ("a(?=b)", "look-around"),
            ("(?<!a)b", "look-around"),
            (r"(a)\1", "backreferences"),
            (r"\Ga", r"\G"),
            ("(?d)a", "flag d"),
            ("a{1000}{1000}", "bytes"),
            ("(", "unclosed"),
            (r"a\", "backslash"),
        ] {
            let error = Pattern::new(java).unwrap_err();
            assert!(error.contains(why) && !error.contains('\n'), "{java}: {error}");
        }
    }

    #[test]
    fn replacing_walks_and_expands_as_java_does() {
        let cases = [
            ("[,/]", "1,2/3", ";", Some("1;2;3")),
            ("b*", "abc", "-", Some("-a--c-")),
            ("(a)(b)?", "abxa", "<$2$1>", Some("<ba>x<a>")),
            ("(?<n>a)", "a", "${n}$1${n}", Some("aaa")),
            ("(a)", "a", "$11", Some("a1")),
            ("a", "a", r"\$\\", Some(r"$\")),
            ("a", "a", "$", None),
            ("a", "a", "$1", None),
            ("a", "a", r"\", None),
            ("a", "b", "$", Some("b")),
        ];
        for (java, text, template, want) in cases {
            let made = Pattern::new(java).unwrap().replace_all(text, template);
            assert_eq!(made.as_deref(), want, "{java} {template}");
        }
    }

    #[test]
    fn replacing_does_not_square_a_text() {
        let text = "x".repeat(2_000);
        assert_eq!(Pattern::new("").unwrap().replace_all(&text, &text), None);
    }

    #[test]
    fn splitting_drops_what_java_drops() {
        let cases: [(&str, &str, i32, &[&str]); 12] = [
            (",", "a,b", 0, &["a", "b"]),
            (",", "a,,b,,", 0, &["a", "", "b"]),
            (",", "a,,b,,", -1, &["a", "", "b", "", ""]),
            (",", "a,b,c", 2, &["a", "b,c"]),
            (",", "a,b,c", 1, &["a,b,c"]),
            (",", "", 0, &[""]),
            (",", ",", 0, &[]),
            (",", ",a", 0, &["", "a"]),
            (",", "a", 0, &["a"]),
            ("", "abc", 0, &["a", "b", "c"]),
            ("", "abc", -1, &["a", "b", "c", ""]),
            ("", "", 0, &[""]),
        ];
        for (java, text, limit, want) in cases {
            let items = Pattern::new(java).unwrap().split(text, limit);
            assert_eq!(items.as_deref(), Some(want), "{java:?} {text:?} {limit}");
        }
    }

    #[test]
    fn splitting_makes_a_bounded_list() {
        let text = ",".repeat(LIST_ITEMS_MAX + 1);
        assert_eq!(Pattern::new(",").unwrap().split(&text, -1), None);
    }
}
