//! A Java exception as it travels: class name, message and, where negotiated, stack and cause.

use std::fmt;

use super::fields::{FieldReader, FieldWriter};
use super::{Text, WireError};

/// Versions 1 and 10 cut a message longer than this many UTF-16 units, to this length.
const CUT_UNITS: usize = 1024;
const CUT_MARK: &str = "...";

/// An exception by name. The name is text, never resolved to code (CVE-2023-46604).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Throwable {
    pub class_name: Option<Text>,
    pub message: Option<Text>,
    /// On the wire only when both sides negotiated `StackTraceEnabled`, like `cause`.
    pub stack_trace: Vec<StackFrame>,
    pub cause: Option<Box<Self>>,
}

/// One line of a Java stack trace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct StackFrame {
    pub class_name: Option<Text>,
    pub method_name: Option<Text>,
    pub file_name: Option<Text>,
    /// -2 for a native method, another negative number where the line is unknown.
    pub line_number: i32,
}

impl Throwable {
    /// An exception without stack or cause, as this broker raises them.
    pub fn new(class_name: &str, message: &str) -> Self {
        Self {
            class_name: Some(class_name.into()),
            message: Some(message.into()),
            ..Self::default()
        }
    }

    /// The same exception with a cause.
    pub fn caused_by(self, cause: Self) -> Self {
        Self { cause: Some(Box::new(cause)), ..self }
    }

    /// The fields behind the presence flag.
    pub fn write(&self, w: &mut impl FieldWriter) {
        w.string(&self.class_name);
        if matches!(w.version(), 1 | 10) {
            w.string(&Some(self.short_message()));
        } else {
            w.string(&self.message);
        }
        if !w.stack_trace() {
            return;
        }
        w.count("a stack trace", self.stack_trace.len());
        for frame in &self.stack_trace {
            w.string(&frame.class_name);
            w.string(&frame.method_name);
            w.string(&frame.file_name);
            w.int(&frame.line_number);
        }
        w.boolean(&self.cause.is_some());
        if let Some(cause) = &self.cause {
            cause.write(w);
        }
    }

    /// Reads what [`Self::write`] writes.
    pub fn read(r: &mut impl FieldReader) -> Result<Self, WireError> {
        let mut it = Self { class_name: r.string()?, message: r.string()?, ..Self::default() };
        if !r.stack_trace() {
            return Ok(it);
        }
        let frames = r.count(size_of::<StackFrame>())?;
        for _ in 0..frames {
            it.stack_trace.push(StackFrame {
                class_name: r.string()?,
                method_name: r.string()?,
                file_name: r.string()?,
                line_number: r.int()?,
            });
        }
        it.cause = r.throwable()?.map(Box::new);
        Ok(it)
    }

    /// The message as versions 1 and 10 send it: cut, and never absent, because those versions have
    /// senders that fail on an absent one.
    fn short_message(&self) -> Text {
        let Some(message) = &self.message else {
            return self.class_name.clone().unwrap_or_else(|| "".into());
        };
        if message.as_bytes().len() <= CUT_UNITS || message.utf16_len() <= CUT_UNITS {
            return message.clone();
        }
        let kept = message.to_utf16().into_iter().take(CUT_UNITS - CUT_MARK.len());
        Text::from_utf16(kept.chain(CUT_MARK.encode_utf16()))
    }
}

/// As Java prints an exception: class, colon, message.
impl fmt::Display for Throwable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class_name.as_ref().map_or(std::borrow::Cow::Borrowed(""), Text::to_str);
        match &self.message {
            Some(message) => write!(f, "{class}: {message}"),
            None => f.write_str(&class),
        }
    }
}
