//! The vocabulary of a field row, and the macro that turns rows into types.

use std::sync::Arc;

use bytes::Bytes;

use super::cache::CachedValue;
use super::{Text, Throwable};

/// Why a frame could not be read or written. The peer broke the protocol; the connection ends.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    #[error("frame ended {missing} bytes early at offset {offset}")]
    Truncated { offset: usize, missing: usize },
    #[error("frame has {extra} bytes after its last field")]
    TrailingBytes { extra: usize },
    #[error("unknown command type {code} for OpenWire version {version}")]
    UnknownType { code: u8, version: u8 },
    #[error("data type {found} cannot stand at offset {offset}, where {expected} is due")]
    UnexpectedType { offset: usize, expected: &'static str, found: u8 },
    #[error("string at offset {offset} is not modified UTF-8")]
    NotModifiedUtf8 { offset: usize },
    #[error("negative length {length} at offset {offset}")]
    NegativeLength { offset: usize, length: i64 },
    #[error("structures nest deeper than {limit} levels")]
    TooDeep { limit: u32 },
    #[error("cache index {index} at offset {offset} is outside the {slots} slots negotiated")]
    CacheIndex { offset: usize, index: i16, slots: usize },
    #[error("frame holds {extra} bytes of flags that no field takes, or sets spare ones")]
    TrailingFlags { extra: usize },
    #[error("a field needs a flag, but the {length} bytes of flags are used up")]
    MissingFlag { length: usize },
    #[error("a frame of {frame} bytes asks for more than {limit} bytes of array elements")]
    Inflates { frame: usize, limit: usize },
    #[error("values cached for the peer take more than {limit} bytes")]
    CacheFull { limit: usize },
    #[error("cache slot {index} holds no {expected}")]
    CacheKind { index: i16, expected: &'static str },
    #[error("a pre-marshalled nested message is not supported")]
    PreMarshalled,
    #[error("{what} of {length} bytes is longer than OpenWire can say ({limit})")]
    TooLong { what: &'static str, length: usize, limit: usize },
    #[error("primitive map: {0}")]
    Map(String),
    #[error("a wire format's properties: {0}")]
    Properties(String),
    #[error("Remote wire format magic is invalid: {found:02x?}, the peer does not speak OpenWire")]
    Magic { found: [u8; 8] },
    #[error("Remote wire format ({version}) is lower the minimum version required ({minimum})")]
    Version { version: i32, minimum: i32 },
    #[error("Frame size of {size} larger than max allowed {limit}")]
    FrameTooLarge { size: String, limit: String },
}

/// Writes fields in wire order. Implemented by the tight and by the loose encoding.
///
/// Writers do not fail half way: the first error is kept and reported when the frame is finished,
/// so the table stays a list of calls.
pub trait FieldWriter: Sized {
    fn version(&self) -> u8;
    /// Whether exceptions travel with their stack and cause.
    fn stack_trace(&self) -> bool;
    /// Keeps the first error.
    fn fail(&mut self, error: WireError);

    fn boolean(&mut self, value: &bool);
    fn byte(&mut self, value: &i8);
    fn short(&mut self, value: &i16);
    fn int(&mut self, value: &i32);
    fn long(&mut self, value: &i64);
    fn string(&mut self, value: &Option<Text>);
    fn bytes(&mut self, value: &Option<Bytes>);
    /// Eight raw bytes without a length: the magic of WireFormatInfo.
    fn magic(&mut self, value: &[u8; 8]);
    fn cached<T: Cacheable>(&mut self, value: &Option<Arc<T>>);
    /// The type byte of a nested structure, behind its presence flag.
    fn nested_code(&mut self, code: u8);

    fn nested<T: Structure>(&mut self, value: &Option<T>) {
        self.boolean(&value.is_some());
        if let Some(structure) = value {
            let (code, version) = (structure.code(), self.version());
            if !T::has_code(code, version) {
                self.fail(WireError::UnknownType { code, version });
            }
            self.nested_code(code);
            structure.write(self);
        }
    }

    fn array<T: Structure>(&mut self, value: &Option<Vec<Option<T>>>) {
        self.boolean(&value.is_some());
        if let Some(elements) = value {
            self.count("an array", elements.len());
            for element in elements {
                self.nested(element);
            }
        }
    }

    fn throwable(&mut self, value: &Option<Throwable>) {
        self.boolean(&value.is_some());
        if let Some(throwable) = value {
            throwable.write(self);
        }
    }

    /// A number of elements, which is a short.
    fn count(&mut self, what: &'static str, length: usize) {
        match i16::try_from(length) {
            Ok(count) => self.short(&count),
            Err(_) => self.fail(WireError::TooLong { what, length, limit: i16::MAX as usize }),
        }
    }
}

/// Reads fields in wire order.
pub trait FieldReader: Sized {
    fn version(&self) -> u8;
    /// Whether exceptions travel with their stack and cause.
    fn stack_trace(&self) -> bool;

    fn boolean(&mut self) -> Result<bool, WireError>;
    fn byte(&mut self) -> Result<i8, WireError>;
    fn short(&mut self) -> Result<i16, WireError>;
    fn int(&mut self) -> Result<i32, WireError>;
    fn long(&mut self) -> Result<i64, WireError>;
    fn string(&mut self) -> Result<Option<Text>, WireError>;
    fn bytes(&mut self) -> Result<Option<Bytes>, WireError>;
    fn magic(&mut self) -> Result<[u8; 8], WireError>;
    fn nested<T: Structure>(&mut self) -> Result<Option<T>, WireError>;
    fn cached<T: Cacheable>(&mut self) -> Result<Option<Arc<T>>, WireError>;
    /// A number of elements, each of which will take `bytes_each` in memory, even an absent one.
    fn count(&mut self, bytes_each: usize) -> Result<usize, WireError>;
    /// Goes one level deeper, as far as that is allowed, to read what `inner` reads.
    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<T, WireError>;

    fn array<T: Structure>(&mut self) -> Result<Option<Vec<Option<T>>>, WireError> {
        if !self.boolean()? {
            return Ok(None);
        }
        let count = self.count(size_of::<Option<T>>())?;
        let elements: Result<_, _> = (0..count).map(|_| self.nested()).collect();
        elements.map(Some)
    }

    fn throwable(&mut self) -> Result<Option<Throwable>, WireError> {
        if !self.boolean()? {
            return Ok(None);
        }
        self.deeper(Throwable::read).map(Some)
    }
}

/// Something with a type byte: a command, an id, a destination, or a choice among several.
pub trait Structure: Sized {
    /// What a reader expected when it meets another type, for errors.
    const NAME: &'static str;
    /// Whether `code` in OpenWire `version` names this structure or one of its choices.
    fn has_code(code: u8, version: u8) -> bool;
    fn code(&self) -> u8;
    /// The fields in wire order, without the type byte.
    fn write(&self, w: &mut impl FieldWriter);
    /// Reads the fields that follow type byte `code`, for which [`Self::has_code`] is true.
    fn read(code: u8, r: &mut impl FieldReader) -> Result<Self, WireError>;
}

/// A structure that travels through the value cache of a connection.
pub trait Cacheable: Structure {
    fn to_cached(this: &Arc<Self>) -> CachedValue;
    /// `None` when the cached value is of another class than the field allows.
    fn from_cached(value: &CachedValue) -> Option<Arc<Self>>;
}

impl<T: Structure> Structure for Arc<T> {
    const NAME: &'static str = T::NAME;

    fn has_code(code: u8, version: u8) -> bool {
        T::has_code(code, version)
    }

    fn code(&self) -> u8 {
        T::code(self)
    }

    fn write(&self, w: &mut impl FieldWriter) {
        T::write(self, w);
    }

    fn read(code: u8, r: &mut impl FieldReader) -> Result<Self, WireError> {
        T::read(code, r).map(Self::new)
    }
}

/// Structures that Java marshals by themselves: nested in tight encoding, one more flag stands
/// behind their presence flag (WIRE.md section 6.2).
pub fn is_marshal_aware(code: u8) -> bool {
    matches!(code, 1 | 23..=29)
}

/// Whether `version` has what came with version `first`; without one it was always there.
pub(crate) fn since(version: u8, first: &[u8]) -> bool {
    first.iter().all(|first| version >= *first)
}

/// Turns rows of the protocol table into structs that read and write themselves, and into
/// `Command`, which is any of them.
///
/// A header is `code => Name` or, for classes that share their fields, `Kind => Name`, where `Kind`
/// is an enum with a type code per variant; `since N` when the type itself came later. A row is
/// `field : kind`, with `since N` or `until N` where the field belongs to some versions only and
/// `only CODE` where it belongs to one class of a kind. A kind is the name of a [`FieldWriter`]
/// method, so a new kind needs a method there and a Rust type in `wire_kind`, no new macro arm.
macro_rules! wire_types {
    ($( $(#[$doc:meta])* $($code:literal)? $($class:ident)? => $name:ident $(: $header:ident)? $(since $from:literal)? {
        $( $(#[$field_doc:meta])* $field:ident : $kind:ident $(($of:ident))?
           $(since $since:literal)? $(until $until:literal)? $(only $only:literal)? , )*
    } )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
            pub struct $name {
                $( /// Which of the classes that share these fields.
                pub class: $class, )?
                $( /// Number of this command, counted by its sender.
                #[doc = concat!("Part of every `", stringify!($header), "`.")]
                pub command_id: i32,
                /// Whether the sender waits for a [`Response`].
                pub response_required: bool, )?
                $( $(#[$field_doc])* pub $field: wire_kind!($kind $($of)?), )*
            }

            impl Structure for $name {
                const NAME: &'static str = stringify!($name);

                fn has_code(code: u8, version: u8) -> bool {
                    since(version, &[$($from)?]) $(&& code == $code)? $(&& $class::from_code(code, version).is_some())?
                }

                fn code(&self) -> u8 {
                    $($code)? $( $class::code(self.class) )?
                }

                fn write(&self, w: &mut impl FieldWriter) {
                    $( wire_header!($header write self, w); )?
                    $( if true $(&& w.version() >= $since)? $(&& w.version() <= $until)? $(&& self.code() == $only)? {
                        w.$kind(&self.$field);
                    } )*
                }

                fn read(code: u8, r: &mut impl FieldReader) -> Result<Self, WireError> {
                    debug_assert!(Self::has_code(code, r.version()), "{} is no {code}", Self::NAME);
                    let mut it = Self::default();
                    $( it.class = $class::from_code(code, r.version()).unwrap_or_default(); )?
                    $( wire_header!($header read it, r); )?
                    $( if true $(&& r.version() >= $since)? $(&& r.version() <= $until)? $(&& code == $only)? {
                        it.$field = r.$kind()?;
                    } )*
                    Ok(it)
                }
            }

            impl From<$name> for Command {
                fn from(it: $name) -> Self {
                    Self::$name(Arc::new(it))
                }
            }
        )*

        /// Any structure of the protocol. Shared, because one may stand in many outboxes.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Command {
            $( $name(Arc<$name>), )*
        }

        impl Structure for Command {
            const NAME: &'static str = "any structure";

            fn has_code(code: u8, version: u8) -> bool {
                false $( || $name::has_code(code, version) )*
            }

            fn code(&self) -> u8 {
                match self { $( Self::$name(it) => it.code(), )* }
            }

            fn write(&self, w: &mut impl FieldWriter) {
                match self { $( Self::$name(it) => it.write(w), )* }
            }

            fn read(code: u8, r: &mut impl FieldReader) -> Result<Self, WireError> {
                let version = r.version();
                $( if $name::has_code(code, version) {
                    return $name::read(code, r).map(Self::from);
                } )*
                Err(WireError::UnknownType { code, version })
            }
        }

        impl Command {
            /// The number its sender gave it, and whether it waits for a response; `None` for what
            /// is no command.
            pub fn header(&self) -> Option<(i32, bool)> {
                match self {
                    $( Self::$name(_it) => {
                        None $( .or(wire_header!($header get _it)) )?
                    } )*
                }
            }

            /// The name of the structure, for logs.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name(_) => $name::NAME, )* }
            }
        }
    };
}

/// What the header word `command` stands for.
macro_rules! wire_header {
    (command write $it:ident, $w:ident) => {
        $w.int(&$it.command_id);
        $w.boolean(&$it.response_required);
    };
    (command read $it:ident, $r:ident) => {
        $it.command_id = $r.int()?;
        $it.response_required = $r.boolean()?;
    };
    (command get $it:ident) => {
        Some(($it.command_id, $it.response_required))
    };
}

/// The Rust type that holds a field of a kind.
macro_rules! wire_kind {
    (boolean) => { bool };
    (byte) => { i8 };
    (int) => { i32 };
    (long) => { i64 };
    (string) => { Option<Text> };
    (bytes) => { Option<Bytes> };
    (magic) => { [u8; 8] };
    (throwable) => { Option<Throwable> };
    (nested $of:ident) => { Option<$of> };
    (cached $of:ident) => { Option<Arc<$of>> };
    (array $of:ident) => { Option<Vec<Option<$of>>> };
}

pub(crate) use {wire_header, wire_kind, wire_types};
