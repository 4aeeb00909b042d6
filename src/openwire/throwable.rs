//! A Java exception as it travels: class name, message and, where negotiated, stack and cause.

use super::Text;

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
}
