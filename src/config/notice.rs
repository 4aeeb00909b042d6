//! What is read and cannot be done as asked, and what happens instead.

use std::fmt;

use super::place::Place;

/// One word of the configuration of which the operator must know something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub at: Place,
    pub weight: Weight,
    /// As it stands in the file: `<kahaDB>`, `schedulerSupport`.
    pub word: String,
    pub text: String,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Nothing is missed; for the log at INFO.
    NoEffect,
    /// Done as asked, but worth a look; for the log at WARN.
    Warning,
    /// Asked for and not done; for the log at WARN. `check` exits with 2.
    NotServed,
}

impl Weight {
    pub fn is_warn(self) -> bool {
        self != Self::NoEffect
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = match self.weight {
            Weight::NoEffect => " has no effect here: ",
            Weight::Warning => ": ",
            Weight::NotServed => " is not served yet: ",
        };
        write!(f, "{}: {}{says}{}", self.at, self.word, self.text)
    }
}
