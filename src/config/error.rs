//! Why a configuration cannot be used, each with its place and what to do.

use std::fmt;
use std::path::PathBuf;

use super::place::Place;

/// Everything that was wrong, in the order it was found; never empty.
#[derive(Debug)]
pub struct ConfigError {
    pub faults: Vec<Fault>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            write!(f, "{}{fault}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

/// One reason.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{}: cannot be read: {reason}", .file.display())]
    Read { file: PathBuf, reason: String },
    #[error("{argument}: {what}")]
    Source { argument: String, what: String },
    #[error("{at}: malformed XML: {what}")]
    Malformed { at: Place, what: String },
    #[error("{at}: the DOCTYPE declares names of its own; remove what stands between [ and ]")]
    Doctype { at: Place },
    #[error("{at}: too large: {what}")]
    TooLarge { at: Place, what: String },
    #[error("{at}: unknown element <{element}> in <{parent}>{hint}")]
    UnknownElement { at: Place, element: String, parent: String, hint: Hint },
    #[error("{at}: unknown attribute `{attribute}` of <{element}>{hint}")]
    UnknownAttribute { at: Place, attribute: String, element: String, hint: Hint },
    #[error("{at}: unknown option `{option}` of {uri}{hint}")]
    UnknownOption { at: Place, option: String, uri: String, hint: Hint },
    #[error("{at}: `{value}` is no value for {word}: expected {expected}")]
    Value { at: Place, word: String, value: String, expected: String },
    #[error("{at}: <{element}> lacks {what}")]
    Lacks { at: Place, element: String, what: String },
    #[error(
        "{at}: nothing is known as ${{{name}}}; define it with -D{name}=…, in the environment, or \
         in a properties file that the configuration names{hint}"
    )]
    Unresolved { at: Place, name: String, hint: Hint },
    #[error("{at}: {what}")]
    Placeholder { at: Place, what: String },
    #[error("{at}: the import `{resource}` is missing: {} cannot be read: {reason}", .file.display())]
    Import { at: Place, resource: String, file: PathBuf, reason: String },
    #[error("{at}: {} cannot be read: {reason}", .file.display())]
    Properties { at: Place, file: PathBuf, reason: String },
    #[error("{at}: the bean `{id}` is not in this configuration{hint}")]
    NoBean { at: Place, id: String, hint: Hint },
    #[error(
        "{at}: a second <broker>; the first is at {first}. One process is one broker: remove one"
    )]
    TwoBrokers { at: Place, first: Place },
    #[error("{}: holds no <broker xmlns=\"http://activemq.apache.org/schema/core\">", .file.display())]
    NoBroker { file: PathBuf },
    #[error("{at}: {word}: {why}")]
    Refused { at: Place, word: String, why: String },
    #[error("{at}: {word} is not served and --strict is set: {instead}")]
    Strict { at: Place, word: String, instead: String },
}

/// The known word nearest to an unknown one, when one is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint(Option<String>);

impl Hint {
    /// Likeness below which a word is no help.
    const NEAR: f64 = 0.6;

    pub(super) fn nearest<'w>(unknown: &str, known: impl IntoIterator<Item = &'w str>) -> Self {
        let unknown = unknown.to_ascii_lowercase();
        // Half for a common beginning, half for how little is to be changed.
        let likeness = |word: &str| {
            let word = word.to_ascii_lowercase();
            let changed = strsim::normalized_damerau_levenshtein(&unknown, &word);
            f64::midpoint(strsim::jaro_winkler(&unknown, &word), changed)
        };
        let scored = known.into_iter().map(|word| (likeness(word), word));
        let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
        Self(best.filter(|(score, _)| *score >= Self::NEAR).map(|(_, word)| word.to_owned()))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |word| write!(f, "; did you mean `{word}`?"))
    }
}
