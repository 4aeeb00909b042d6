//! Builds the expression of a selector, by ActiveMQ's grammar.
//!
//! From loose to tight, all grouping to the left:
//!
//! ```text
//! OR
//! AND
//! =  <>  IS NULL  IS NOT NULL
//! <  <=  >  >=  LIKE  BETWEEN  IN, each of the last three also with NOT before it
//! +  -
//! *  /  %
//! + - NOT (prefix)
//! literal  property  FUNCTION(..)  ( .. )
//! ```
//!
//! `NOT` binds that tightly in ActiveMQ only: `NOT a = 1` is `(NOT a) = 1`.

use super::error::SelectorError;
use super::expression::{Comparison, Condition, Operand, PatternOperand};
use super::lexer::{Keyword, Lexer, Token};
use super::like::Like;
use super::pattern::Pattern;
use super::value::{Arithmetic, Value};

/// How deep brackets, prefixes and chains of operators nest. Bounds the stack of parsing, evaluating
/// and dropping; AND and OR chains are flat and do not count.
pub(super) const DEPTH_MAX: usize = 256;

/// Most regular expressions that a selector may spell out. A compiled one takes far more memory than
/// its text.
const PATTERNS_MAX: usize = 16;

/// Parses all of `text`, whose first character stands at `first_at` of what the client sent.
pub(super) fn parse(text: &str, first_at: usize) -> Result<Condition, SelectorError> {
    let mut parser = Parser { text, first_at, lexer: Lexer::new(text), depth: 0, patterns: 0 };
    let whole = parser.expression(Level::Or)?;
    match parser.peek() {
        Token::End => parser.condition(whole),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

/// How tightly an operator binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Equality,
    Comparison,
    Sum,
    Product,
}

/// An operator behind an operand.
#[derive(Debug, Clone, Copy)]
enum Infix {
    Or,
    And,
    Equal { negated: bool },
    IsNull,
    Compare(Comparison),
    Like { negated: bool },
    Between { negated: bool },
    In { negated: bool },
    Arithmetic(Arithmetic),
}

impl Infix {
    fn level(self) -> Level {
        match self {
            Self::Or => Level::Or,
            Self::And => Level::And,
            Self::Equal { .. } | Self::IsNull => Level::Equality,
            Self::Compare(_) | Self::Like { .. } | Self::Between { .. } | Self::In { .. } => {
                Level::Comparison
            }
            Self::Arithmetic(Arithmetic::Plus | Arithmetic::Minus) => Level::Sum,
            Self::Arithmetic(_) => Level::Product,
        }
    }

    /// How many tokens tell it from others: `NOT LIKE` has two.
    fn words(self) -> usize {
        match self {
            Self::Like { negated } | Self::Between { negated } | Self::In { negated } => {
                1 + usize::from(negated)
            }
            _ => 1,
        }
    }
}

/// What an operand begins with.
#[derive(Debug, Clone, Copy)]
enum Prefix {
    Plus,
    Minus,
    Not,
    Bracket,
    Function,
    None,
}

/// An operand that was read.
#[derive(Debug)]
struct Parsed {
    operand: Operand,
    /// Byte offset of where it begins.
    at: usize,
    /// How many operators lie upon each other in it.
    height: usize,
}

struct Parser<'t> {
    text: &'t str,
    first_at: usize,
    lexer: Lexer<'t>,
    /// How many brackets and prefixes are open.
    depth: usize,
    /// How many regular expressions were compiled.
    patterns: usize,
}

impl<'t> Parser<'t> {
    /// Reads operands and operators that bind as tightly as `loosest` or tighter.
    fn expression(&mut self, loosest: Level) -> Result<Parsed, SelectorError> {
        let mut left = self.prefixed()?;
        // Behind an operator only those that bind no tighter follow: the others went into its right
        // side, or, after LIKE and its like, may not stand there.
        let mut tightest = Level::Product;
        while let Some(infix) = self.peek_infix() {
            if infix.level() < loosest || infix.level() > tightest {
                break;
            }
            tightest = infix.level();
            (0..infix.words()).for_each(|_| drop(self.lexer.next()));
            left = self.infix(infix, left)?;
        }
        Ok(left)
    }

    fn peek(&self) -> Token<'t> {
        self.lexer.clone().next()
    }

    fn peek_second(&self) -> Token<'t> {
        let mut ahead = self.lexer.clone();
        ahead.next();
        ahead.next()
    }

    fn peek_infix(&self) -> Option<Infix> {
        let negatable = |keyword, negated| match keyword {
            Token::Keyword(Keyword::Like) => Some(Infix::Like { negated }),
            Token::Keyword(Keyword::Between) => Some(Infix::Between { negated }),
            Token::Keyword(Keyword::In) => Some(Infix::In { negated }),
            _ => None,
        };
        Some(match self.peek() {
            Token::Keyword(Keyword::Or) => Infix::Or,
            Token::Keyword(Keyword::And) => Infix::And,
            Token::Keyword(Keyword::Is) => Infix::IsNull,
            Token::Keyword(Keyword::Not) => return negatable(self.peek_second(), true),
            Token::Sign("=") => Infix::Equal { negated: false },
            Token::Sign("<>") => Infix::Equal { negated: true },
            Token::Sign("<") => Infix::Compare(Comparison::Less),
            Token::Sign("<=") => Infix::Compare(Comparison::LessOrEqual),
            Token::Sign(">") => Infix::Compare(Comparison::Greater),
            Token::Sign(">=") => Infix::Compare(Comparison::GreaterOrEqual),
            Token::Sign("+") => Infix::Arithmetic(Arithmetic::Plus),
            Token::Sign("-") => Infix::Arithmetic(Arithmetic::Minus),
            Token::Sign("*") => Infix::Arithmetic(Arithmetic::Multiply),
            Token::Sign("/") => Infix::Arithmetic(Arithmetic::Divide),
            Token::Sign("%") => Infix::Arithmetic(Arithmetic::Modulo),
            keyword => return negatable(keyword, false),
        })
    }

    /// Reads what follows an operator that was taken.
    fn infix(&mut self, infix: Infix, left: Parsed) -> Result<Parsed, SelectorError> {
        match infix {
            Infix::Or => {
                let right = self.expression(Level::And)?;
                self.join(left, right, Condition::or)
            }
            Infix::And => {
                let right = self.expression(Level::Equality)?;
                self.join(left, right, Condition::and)
            }
            Infix::Equal { negated } => {
                let right = self.expression(Level::Comparison)?;
                self.equal(left, right, negated)
            }
            Infix::IsNull => self.is_null(left),
            Infix::Compare(comparison) => {
                let right = self.expression(Level::Sum)?;
                self.compare(comparison, left, right)
            }
            Infix::Like { negated } => self.like(left, negated),
            Infix::Between { negated } => self.between(left, negated),
            Infix::In { negated } => self.is_in(left, negated),
            Infix::Arithmetic(arithmetic) => {
                let tighter = match infix.level() {
                    Level::Sum => self.expression(Level::Product)?,
                    _ => self.prefixed()?,
                };
                self.arithmetic(arithmetic, left, tighter)
            }
        }
    }

    /// AND and OR: flat, so that only what is inside counts for the height.
    fn join(
        &self,
        left: Parsed,
        right: Parsed,
        join: fn(Condition, Condition) -> Condition,
    ) -> Result<Parsed, SelectorError> {
        let (at, height) = (left.at, left.height.max(right.height + 1));
        let (left, right) = (self.condition(left)?, self.condition(right)?);
        self.parsed(Operand::Condition(Box::new(join(left, right))), at, height)
    }

    fn equal(&self, left: Parsed, right: Parsed, negated: bool) -> Result<Parsed, SelectorError> {
        let is_null = |it: &Parsed| matches!(it.operand, Operand::Literal(Value::Null));
        if let Some(null) = [&left, &right].into_iter().find(|it| is_null(it)) {
            return Err(self.not_comparable(null.at, "IS NULL asks for what is missing"));
        }
        if let (Operand::Literal(Value::Boolean(_)), Operand::Literal(other)) =
            (&left.operand, &right.operand)
            && !matches!(other, Value::Boolean(_))
        {
            return Err(self.not_comparable(right.at, "the other one is a boolean"));
        }
        let (at, height) = (left.at, left.height.max(right.height) + 1);
        let equal = Condition::Compare {
            comparison: Comparison::Equal,
            left: left.operand,
            right: right.operand,
        };
        self.parsed_condition(equal, negated, at, height)
    }

    fn is_null(&mut self, left: Parsed) -> Result<Parsed, SelectorError> {
        let negated = self.peek() == Token::Keyword(Keyword::Not);
        if negated {
            self.lexer.next();
        }
        self.expect(Token::Keyword(Keyword::Null), "NULL")?;
        let condition = Condition::IsNull(left.operand);
        self.parsed_condition(condition, negated, left.at, left.height + 1)
    }

    fn compare(
        &self,
        comparison: Comparison,
        left: Parsed,
        right: Parsed,
    ) -> Result<Parsed, SelectorError> {
        self.check_has_order(&left)?;
        self.check_has_order(&right)?;
        let (at, height) = (left.at, left.height.max(right.height) + 1);
        let compare = Condition::Compare { comparison, left: left.operand, right: right.operand };
        self.parsed_condition(compare, false, at, height)
    }

    /// `<` and its like take numbers; of literals and conditions it is known that they are none.
    fn check_has_order(&self, it: &Parsed) -> Result<(), SelectorError> {
        let has_order = match &it.operand {
            Operand::Literal(literal) => literal.is_number(),
            operand => !operand.is_boolean(),
        };
        if has_order { Ok(()) } else { Err(self.not_comparable(it.at, "it is no number")) }
    }

    fn like(&mut self, left: Parsed, negated: bool) -> Result<Parsed, SelectorError> {
        let pattern = self.text_literal()?;
        let mut escape = None;
        if self.peek() == Token::Keyword(Keyword::Escape) {
            self.lexer.next();
            let at = self.lexer.offset();
            let text = self.text_literal()?;
            let mut chars = text.chars();
            escape = chars.next();
            if escape.is_none_or(|escape| escape.len_utf16() > 1) || chars.next().is_some() {
                return Err(SelectorError::Escape { at: self.place(at) });
            }
        }
        let like = Condition::Like { value: left.operand, pattern: Like::new(&pattern, escape) };
        self.parsed_condition(like, negated, left.at, left.height + 1)
    }

    fn between(&mut self, left: Parsed, negated: bool) -> Result<Parsed, SelectorError> {
        let low = self.expression(Level::Sum)?;
        self.expect(Token::Keyword(Keyword::And), "AND")?;
        let high = self.expression(Level::Sum)?;
        for operand in [&left, &low, &high] {
            self.check_has_order(operand)?;
        }
        let (at, height) = (left.at, left.height.max(low.height).max(high.height) + 1);
        let (value, low, high) = (left.operand, low.operand, high.operand);
        let between = Condition::Between { value, low, high, negated };
        self.parsed_condition(between, false, at, height)
    }

    fn is_in(&mut self, left: Parsed, negated: bool) -> Result<Parsed, SelectorError> {
        self.expect(Token::Sign("("), "(")?;
        let mut texts = vec![self.text_literal()?.into_boxed_str()];
        while self.peek() == Token::Sign(",") {
            self.lexer.next();
            texts.push(self.text_literal()?.into_boxed_str());
        }
        self.expect(Token::Sign(")"), ", or )")?;
        let Operand::Property(property) = left.operand else {
            return Err(SelectorError::InNeedsProperty { at: self.place(left.at) });
        };
        texts.sort_unstable();
        let is_in = Condition::In { property, texts };
        self.parsed_condition(is_in, negated, left.at, left.height + 1)
    }

    fn arithmetic(
        &self,
        arithmetic: Arithmetic,
        left: Parsed,
        right: Parsed,
    ) -> Result<Parsed, SelectorError> {
        let (at, height) = (left.at, left.height.max(right.height) + 1);
        let (left, right) = (Box::new(left.operand), Box::new(right.operand));
        self.parsed(Operand::Arithmetic { arithmetic, left, right }, at, height)
    }

    /// Reads an operand with the signs and NOTs before it. All nesting comes through here, so what it
    /// calls while it waits is kept in functions of their own: their frames are not on the stack.
    fn prefixed(&mut self) -> Result<Parsed, SelectorError> {
        if self.depth == DEPTH_MAX {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let parsed = match self.peek_prefix() {
            Prefix::Plus => {
                self.lexer.next();
                self.prefixed()
            }
            Prefix::Minus => self.negated(),
            Prefix::Not => self.not(),
            Prefix::Bracket => self.bracketed(),
            Prefix::Function => self.function(),
            Prefix::None => self.primary(),
        };
        self.depth -= 1;
        parsed
    }

    fn peek_prefix(&self) -> Prefix {
        match self.peek() {
            Token::Sign("+") => Prefix::Plus,
            Token::Sign("-") => Prefix::Minus,
            Token::Sign("(") => Prefix::Bracket,
            Token::Keyword(Keyword::Not) => Prefix::Not,
            Token::Identifier(_) if self.peek_second() == Token::Sign("(") => Prefix::Function,
            _ => Prefix::None,
        }
    }

    fn negated(&mut self) -> Result<Parsed, SelectorError> {
        let at = self.lexer.offset();
        self.lexer.next();
        let inner = self.prefixed()?;
        self.parsed(Operand::Negate(Box::new(inner.operand)), at, inner.height + 1)
    }

    fn not(&mut self) -> Result<Parsed, SelectorError> {
        let at = self.lexer.offset();
        self.lexer.next();
        let inner = self.prefixed()?;
        let height = inner.height;
        let condition = self.condition(inner)?;
        self.parsed_condition(condition, true, at, height)
    }

    fn bracketed(&mut self) -> Result<Parsed, SelectorError> {
        self.lexer.next();
        let inner = self.expression(Level::Or)?;
        self.expect(Token::Sign(")"), "an operator or )")?;
        Ok(inner)
    }

    fn primary(&mut self) -> Result<Parsed, SelectorError> {
        let at = self.lexer.offset();
        let operand = match self.peek() {
            Token::Identifier(name) => Operand::Property(name.into()),
            _ => Operand::Literal(self.literal()?),
        };
        self.lexer.next();
        self.parsed(operand, at, 1)
    }

    /// The value of the next token, which stays.
    fn literal(&mut self) -> Result<Value<'static>, SelectorError> {
        Ok(match self.peek() {
            Token::Keyword(Keyword::True) => Value::Boolean(true),
            Token::Keyword(Keyword::False) => Value::Boolean(false),
            Token::Keyword(Keyword::Null) => Value::Null,
            Token::Keyword(Keyword::XPath) => return Err(self.unsupported("XPATH")),
            Token::Keyword(Keyword::XQuery) => return Err(self.unsupported("XQUERY")),
            Token::Text(text) => Value::Text(text.into_owned().into()),
            Token::Decimal(digits) => self.whole_number(digits, 10)?,
            Token::Hex(digits) => self.whole_number(digits, 16)?,
            Token::Octal(digits) => self.whole_number(digits, 8)?,
            Token::Floating(text) => Value::Double(text.parse().map_err(|_| self.too_large())?),
            _ => return Err(self.unexpected("a literal, a property, a function or (")),
        })
    }

    /// An int where one suffices, else a long. Java cuts a decimal beyond that to its lower bits where
    /// those make an int, and keeps it whole otherwise.
    fn whole_number(&mut self, digits: &str, base: u32) -> Result<Value<'static>, SelectorError> {
        let Ok(wide) = i128::from_str_radix(digits, base) else { return Err(self.too_large()) };
        match (i32::try_from(wide as i64), i64::try_from(wide)) {
            (_, Err(_)) if base != 10 => Err(self.too_large()),
            (Ok(int), _) => Ok(Value::Integer(int)),
            (Err(_), Ok(long)) => Ok(Value::Long(long)),
            (Err(_), Err(_)) => Ok(Value::Wide(wide)),
        }
    }

    /// Reads a call. Arguments are prefixed operands: `f(a + b)` needs brackets around the sum.
    fn function(&mut self) -> Result<Parsed, SelectorError> {
        let at = self.lexer.offset();
        let Token::Identifier(name) = self.lexer.next() else {
            return Err(self.unexpected("the name of a function"));
        };
        let mut arguments = Vec::new();
        let mut height = 0;
        // The opening bracket at first, then commas.
        while self.lexer.next() != Token::Sign(")") {
            let argument = self.prefixed()?;
            height = height.max(argument.height);
            arguments.push(argument);
            if !matches!(self.peek(), Token::Sign("," | ")")) {
                return Err(self.unexpected(", or )"));
            }
        }
        let call = self.call(name, arguments, at)?;
        self.parsed(call, at, height + 1)
    }

    fn call(
        &mut self,
        name: &str,
        given: Vec<Parsed>,
        at: usize,
    ) -> Result<Operand, SelectorError> {
        let found = given.len();
        let wrong =
            |name, takes| SelectorError::Arguments { at: self.place(at), name, takes, found };
        match name {
            "MAKELIST" => Ok(Operand::MakeList(given.into_iter().map(|it| it.operand).collect())),
            "INLIST" => {
                let [list, item] = exactly(given).ok_or_else(|| wrong("INLIST", "2"))?;
                let condition = Condition::InList { list: list.operand, item: item.operand };
                Ok(Operand::Condition(Box::new(condition)))
            }
            "REGEX" => {
                let [pattern, text] = exactly(given).ok_or_else(|| wrong("REGEX", "2"))?;
                let pattern = self.pattern(pattern)?;
                let condition = Condition::Regex { pattern, text: text.operand };
                Ok(Operand::Condition(Box::new(condition)))
            }
            "REPLACE" => {
                let [text, pattern, template] =
                    exactly(given).ok_or_else(|| wrong("REPLACE", "3"))?;
                let pattern = Box::new(self.pattern(pattern)?);
                let (text, template) = (Box::new(text.operand), Box::new(template.operand));
                Ok(Operand::Replace { text, pattern, template })
            }
            "SPLIT" => {
                let mut given = given.into_iter();
                let (Some(text), Some(pattern), limit, None) =
                    (given.next(), given.next(), given.next(), given.next())
                else {
                    return Err(wrong("SPLIT", "2 or 3"));
                };
                let pattern = Box::new(self.pattern(pattern)?);
                let limit = limit.map(|limit| Box::new(limit.operand));
                Ok(Operand::Split { text: Box::new(text.operand), pattern, limit })
            }
            unknown => {
                let name = unknown.to_owned();
                Err(SelectorError::UnknownFunction { at: self.place(at), name })
            }
        }
    }

    fn pattern(&mut self, given: Parsed) -> Result<PatternOperand, SelectorError> {
        let Operand::Literal(Value::Text(text)) = &given.operand else {
            return Ok(PatternOperand::Computed(given.operand));
        };
        self.patterns += 1;
        let compiled = if self.patterns > PATTERNS_MAX {
            Err(format!("it is one more than the {PATTERNS_MAX} allowed in a selector"))
        } else {
            Pattern::new(text)
        };
        let refused = |reason| SelectorError::Pattern { at: self.place(given.at), reason };
        compiled.map(PatternOperand::Compiled).map_err(refused)
    }

    fn text_literal(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Token::Text(text) => {
                self.lexer.next();
                Ok(text.into_owned())
            }
            _ => Err(self.unexpected("a text in single quotes")),
        }
    }

    fn expect(&mut self, token: Token<'_>, name: &'static str) -> Result<(), SelectorError> {
        if self.peek() != token {
            return Err(self.unexpected(name));
        }
        self.lexer.next();
        Ok(())
    }

    /// What was read, where a condition must stand: one by its form, or a property that may be one.
    fn condition(&self, parsed: Parsed) -> Result<Condition, SelectorError> {
        match parsed.operand {
            Operand::Condition(condition) => Ok(*condition),
            Operand::Literal(Value::Boolean(truth)) => Ok(Condition::Constant(Some(truth))),
            Operand::Literal(Value::Null) => Ok(Condition::Constant(None)),
            Operand::Property(name) => Ok(Condition::Flag(name)),
            _ => Err(SelectorError::NotBoolean { at: self.place(parsed.at) }),
        }
    }

    fn parsed_condition(
        &self,
        condition: Condition,
        negated: bool,
        at: usize,
        height: usize,
    ) -> Result<Parsed, SelectorError> {
        let condition = if negated { condition.not() } else { condition };
        self.parsed(Operand::Condition(Box::new(condition)), at, height + usize::from(negated))
    }

    fn parsed(&self, operand: Operand, at: usize, height: usize) -> Result<Parsed, SelectorError> {
        if height > DEPTH_MAX {
            return Err(SelectorError::TooDeep { at: self.place(at), limit: DEPTH_MAX });
        }
        Ok(Parsed { operand, at, height })
    }

    /// The place of the next token.
    fn at(&mut self) -> usize {
        let offset = self.lexer.offset();
        self.place(offset)
    }

    /// Turns a byte offset into the number of a character in what the client sent, from 1.
    fn place(&self, offset: usize) -> usize {
        self.first_at + self.text.get(..offset).map_or(0, |before| before.chars().count())
    }

    fn too_large(&mut self) -> SelectorError {
        SelectorError::Number { at: self.at() }
    }

    fn too_deep(&mut self) -> SelectorError {
        SelectorError::TooDeep { at: self.at(), limit: DEPTH_MAX }
    }

    fn unexpected(&mut self, expected: &'static str) -> SelectorError {
        let at = self.at();
        match self.peek() {
            Token::Unknown(found) => SelectorError::Character { at, found },
            token => SelectorError::Unexpected { at, found: name(&token), expected },
        }
    }

    fn unsupported(&mut self, language: &'static str) -> SelectorError {
        SelectorError::Unsupported { at: self.at(), language }
    }

    fn not_comparable(&self, at: usize, why: &'static str) -> SelectorError {
        SelectorError::NotComparable { at: self.place(at), why }
    }
}

fn exactly<const N: usize>(given: Vec<Parsed>) -> Option<[Parsed; N]> {
    given.try_into().ok()
}

/// A token as an error message names it.
fn name(token: &Token<'_>) -> String {
    match token {
        Token::Keyword(keyword) => format!("{keyword:?}").to_uppercase(),
        Token::Identifier(name) => (*name).to_owned(),
        Token::Text(text) => format!("'{text}'"),
        Token::Decimal(digits) | Token::Octal(digits) | Token::Floating(digits) => {
            (*digits).to_owned()
        }
        Token::Hex(digits) => format!("0x{digits}"),
        Token::Sign(sign) => (*sign).to_owned(),
        Token::Unknown(c) => c.to_string(),
        Token::End => "the end".to_owned(),
    }
}
