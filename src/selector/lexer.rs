//! Cuts a selector into tokens, one at a time, by the longest match as ActiveMQ's lexer does.

use std::borrow::Cow;
use std::str::Chars;

/// A word, literal or sign of a selector.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'t> {
    Keyword(Keyword),
    Identifier(&'t str),
    /// A string literal without its quotes, doubled quotes made single.
    Text(Cow<'t, str>),
    /// `10` or `10L`, without the letter.
    Decimal(&'t str),
    /// `0x1F`, without the `0x`.
    Hex(&'t str),
    /// `017`, with its zero.
    Octal(&'t str),
    Floating(&'t str),
    /// An operator, a bracket or a comma.
    Sign(&'static str),
    /// A character that begins no token, such as a quote that is never closed.
    Unknown(char),
    End,
}

/// The reserved words. Upper and lower case are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Not,
    And,
    Or,
    Between,
    Like,
    Escape,
    In,
    Is,
    True,
    False,
    Null,
    XPath,
    XQuery,
}

impl Keyword {
    const ALL: [(&'static str, Self); 13] = [
        ("NOT", Self::Not),
        ("AND", Self::And),
        ("OR", Self::Or),
        ("BETWEEN", Self::Between),
        ("LIKE", Self::Like),
        ("ESCAPE", Self::Escape),
        ("IN", Self::In),
        ("IS", Self::Is),
        ("TRUE", Self::True),
        ("FALSE", Self::False),
        ("NULL", Self::Null),
        ("XPATH", Self::XPath),
        ("XQUERY", Self::XQuery),
    ];

    fn from_word(word: &str) -> Option<Self> {
        let same = Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        same.map(|(_, keyword)| *keyword)
    }
}

/// Longer signs stand before their beginnings.
const SIGNS: [&str; 14] = ["<>", "<=", ">=", "=", "<", ">", "(", ")", ",", "+", "-", "*", "/", "%"];

/// A place in a selector. A copy of it looks ahead.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'t> {
    rest: &'t str,
    /// What is left where the last line and the last block comment could end. Without it, every
    /// `--` would be followed to the end of the text in search of one.
    left_at_line_end: Option<usize>,
    left_at_block_end: Option<usize>,
    whole_bytes: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let left = |end| text.len() - end;
        Self {
            rest: text,
            left_at_line_end: text.rfind(['\n', '\r']).map(left),
            left_at_block_end: text.rfind("*/").map(left),
            whole_bytes: text.len(),
        }
    }

    /// Byte offset of the next token, once blanks and comments before it are skipped.
    pub(super) fn offset(&mut self) -> usize {
        self.skip_blank();
        self.whole_bytes - self.rest.len()
    }

    /// Takes the next token. At the end it is [`Token::End`], again and again.
    pub(super) fn next(&mut self) -> Token<'t> {
        self.skip_blank();
        let Some(first) = self.rest.chars().next() else { return Token::End };
        match first {
            'a'..='z' | 'A'..='Z' | '_' | '$' => self.word(),
            '\'' => self.text(),
            '0'..='9' | '.' => self.number(),
            _ => self.sign(),
        }
    }

    /// Blanks, `/* */` and `--` up to the end of the line. A comment that does not end is none: its
    /// first character is an operator then.
    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0C']);
            let ends = |left: Option<usize>| left.is_some_and(|left| left < rest.len());
            let comment_end = match rest.get(..2) {
                Some("--") if ends(self.left_at_line_end) => rest.find(['\n', '\r']),
                Some("/*") if ends(self.left_at_block_end) => {
                    rest.get(2..).and_then(|inside| inside.find("*/")).map(|at| at + 4)
                }
                _ => None,
            };
            self.rest = rest;
            match comment_end {
                Some(end) => drop(self.take(end)),
                None => return,
            }
        }
    }

    /// Takes `bytes` bytes, which end where a character does.
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> Token<'t> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let length = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let word = self.take(length);
        Keyword::from_word(word).map_or(Token::Identifier(word), Token::Keyword)
    }

    fn text(&mut self) -> Token<'t> {
        let inside = self.rest.get(1..).unwrap_or_default();
        let Some(length) = closing_quote(inside) else { return self.unknown() };
        self.take(length + 2);
        let raw = inside.get(..length).unwrap_or_default();
        Token::Text(if raw.contains('\'') { raw.replace("''", "'").into() } else { raw.into() })
    }

    fn number(&mut self) -> Token<'t> {
        let digits = digits(self.rest, 10);
        let floating = floating(self.rest, digits);
        if floating > 0 {
            return Token::Floating(self.take(floating));
        }
        match self.rest.as_bytes() {
            [b'0', b'x' | b'X', ..] if digits_after(self.rest, 2, 16) > 0 => {
                self.take(2);
                let digits = self::digits(self.rest, 16);
                Token::Hex(self.take(digits))
            }
            [b'0', ..] => Token::Octal(self.take(self::digits(self.rest, 8))),
            [b'1'..=b'9', ..] => {
                let number = self.take(digits);
                self.rest = self.rest.strip_prefix(['l', 'L']).unwrap_or(self.rest);
                Token::Decimal(number)
            }
            _ => self.unknown(),
        }
    }

    fn sign(&mut self) -> Token<'t> {
        match SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            Some(sign) => {
                self.take(sign.len());
                Token::Sign(sign)
            }
            None => self.unknown(),
        }
    }

    fn unknown(&mut self) -> Token<'t> {
        let mut chars: Chars<'t> = self.rest.chars();
        let found = chars.next();
        self.rest = chars.as_str();
        found.map_or(Token::End, Token::Unknown)
    }
}

/// Length of a literal up to the quote that closes it; a doubled quote does not.
fn closing_quote(inside: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + inside.get(from..)?.find('\'')?;
        if !inside.get(at + 1..)?.starts_with('\'') {
            return Some(at);
        }
        from = at + 2;
    }
}

/// How many digits of the base `text` begins with.
fn digits(text: &str, base: u32) -> usize {
    text.find(|c: char| !c.is_digit(base)).unwrap_or(text.len())
}

fn digits_after(text: &str, skipped: usize, base: u32) -> usize {
    text.get(skipped..).map_or(0, |rest| digits(rest, base))
}

/// Length of `5.`, `5.5`, `.5` or `5E-3` and the like; 0 where there is neither point nor exponent.
/// `whole` is the number of digits before the point.
fn floating(text: &str, whole: usize) -> usize {
    let mut length = whole;
    if text.get(whole..).is_some_and(|rest| rest.starts_with('.')) {
        let fraction = digits_after(text, whole + 1, 10);
        if whole + fraction == 0 {
            return 0;
        }
        length = whole + 1 + fraction;
    }
    let end = length + exponent(text.get(length..).unwrap_or_default());
    if end > whole { end } else { 0 }
}

/// Length of `E5`, `e+5` or `E-5`; 0 where no exponent stands.
fn exponent(text: &str) -> usize {
    let letter = 1;
    let signed = usize::from(matches!(text.as_bytes(), [b'e' | b'E', b'+' | b'-', ..]));
    let digits = digits_after(text, letter + signed, 10);
    let is_exponent = text.starts_with(['e', 'E']) && digits > 0;
    if is_exponent { letter + signed + digits } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        std::iter::from_fn(|| Some(lexer.next()).filter(|token| *token != Token::End)).collect()
    }

    #[test]
    fn a_number_takes_as_much_as_it_can() {
        let cases = [
            ("5", Token::Decimal("5")),
            ("5L", Token::Decimal("5")),
            ("0x1Fl", Token::Hex("1F")),
            ("017", Token::Octal("017")),
            ("0", Token::Octal("0")),
            ("5.", Token::Floating("5.")),
            (".5", Token::Floating(".5")),
            ("08.5e-3", Token::Floating("08.5e-3")),
            ("5E10", Token::Floating("5E10")),
            ("5.E+1", Token::Floating("5.E+1")),
        ];
        for (text, want) in cases {
            assert_eq!(tokens(text).first(), Some(&want), "{text}");
        }
        assert_eq!(tokens("08"), [Token::Octal("0"), Token::Decimal("8")]);
        assert_eq!(tokens("5e"), [Token::Decimal("5"), Token::Identifier("e")]);
        assert_eq!(tokens("0xg"), [Token::Octal("0"), Token::Identifier("xg")]);
        assert_eq!(tokens("."), [Token::Unknown('.')]);
    }

    #[test]
    fn quotes_are_doubled_inside_a_literal() {
        assert_eq!(tokens("''"), [Token::Text("".into())]);
        assert_eq!(tokens("'a''b'"), [Token::Text("a'b".into())]);
        assert_eq!(tokens("'a' 'b'"), [Token::Text("a".into()), Token::Text("b".into())]);
        assert_eq!(tokens("'a")[0], Token::Unknown('\''));
        assert_eq!(tokens("'a''")[0], Token::Unknown('\''));
    }

    #[test]
    fn a_comment_that_does_not_end_is_none() {
        assert_eq!(tokens("/* a */ -- b\n/**/"), []);
        assert_eq!(tokens("-- b"), [Token::Sign("-"), Token::Sign("-"), Token::Identifier("b")]);
        assert_eq!(tokens("/* b"), [Token::Sign("/"), Token::Sign("*"), Token::Identifier("b")]);
        assert_eq!(tokens("/*/ b")[0], Token::Sign("/"));
    }

    #[test]
    fn words_are_reserved_in_any_case_and_only_whole() {
        assert_eq!(tokens("nOt"), [Token::Keyword(Keyword::Not)]);
        assert_eq!(tokens("nothing"), [Token::Identifier("nothing")]);
        assert_eq!(tokens("$a_1"), [Token::Identifier("$a_1")]);
    }
}
