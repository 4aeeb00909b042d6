//! Bugs outside the store that tests can plant in a daemon, to see that they are found. Without the feature
//! `planted-bugs` they do not exist.

/// Whether the variable `OPENWIRED_BUG` plants the bug of this name.
macro_rules! planted_bug {
    ($name:literal) => {{
        #[cfg(feature = "planted-bugs")]
        let planted = crate::base::bug::is_planted($name);
        #[cfg(not(feature = "planted-bugs"))]
        let planted = false;
        planted
    }};
}

pub(crate) use planted_bug;

#[cfg(feature = "planted-bugs")]
pub(crate) fn is_planted(name: &str) -> bool {
    use std::sync::LazyLock;

    static PLANTED: LazyLock<String> =
        LazyLock::new(|| std::env::var("OPENWIRED_BUG").unwrap_or_default());
    PLANTED.as_str() == name
}
