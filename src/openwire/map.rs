//! Primitive maps: message properties, map bodies and the properties of a WireFormatInfo.
//!
//! ```text
//! map   = count:int  count x ( key value )      count -1 = no map
//! key   = length:u16  modified UTF-8
//! value = tag:byte  data
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use super::input::Input;
use super::{Text, WireError};

/// How deep maps and lists may nest in each other.
pub const DEPTH_MAX: u32 = 8;

/// From this many UTF-16 units on a string is written with a length of four bytes.
const BIG_STRING_UNITS: usize = 8191;

/// A key takes at least its length, a value its tag.
const ENTRY_BYTES_MIN: usize = 3;

/// Entries that room is made for on the word of a count; more room comes with the entries.
const RESERVED_MAX: usize = 16;

mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const BYTE: u8 = 2;
    pub(super) const CHAR: u8 = 3;
    pub(super) const SHORT: u8 = 4;
    pub(super) const INT: u8 = 5;
    pub(super) const LONG: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const FLOAT: u8 = 8;
    pub(super) const STRING: u8 = 9;
    pub(super) const BYTES: u8 = 10;
    pub(super) const MAP: u8 = 11;
    pub(super) const LIST: u8 = 12;
    pub(super) const BIG_STRING: u8 = 13;
}

/// One value of a map, list or stream body.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Boolean(bool),
    Byte(i8),
    /// One UTF-16 unit.
    Char(u16),
    Short(i16),
    Int(i32),
    Long(i64),
    Double(f64),
    Float(f32),
    String(Text),
    Bytes(Bytes),
    List(Vec<Self>),
    Map(PrimitiveMap),
}

/// Keys and values in the order of the wire. Where a key stands twice the last one counts, as it
/// does for Java.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrimitiveMap(Vec<(Text, Value)>);

impl PrimitiveMap {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(have, _)| have == key).map(|(_, value)| value)
    }

    /// Sets `key`, in its old place where it is known already.
    pub fn insert(&mut self, key: impl Into<Text>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().rev().find(|(have, _)| *have == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// Takes `key` out and says what it was.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let mut last = None;
        self.0.retain_mut(|(have, value)| {
            let keep = have != key;
            if !keep {
                last = Some(std::mem::take(value));
            }
            keep
        });
        last
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Reads a whole map; `None` is the null map.
    ///
    /// # Errors
    /// When the bytes are no map, go on after it, or nest deeper than [`DEPTH_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        let mut input = Input::new(bytes);
        let map = read_map(&mut input, 0)?;
        input.finish()?;
        Ok(map)
    }

    /// Writes the map. A map of no entries becomes four zero bytes.
    ///
    /// # Errors
    /// When a key is longer than 65535 bytes or anything is longer than OpenWire can say.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        let mut out = BytesMut::with_capacity(4 + 24 * self.len());
        write_map(self, &mut out)?;
        Ok(out.freeze())
    }
}

impl<K: Into<Text>, V: Into<Value>> FromIterator<(K, V)> for PrimitiveMap {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

/// The value of one key of an encoded map, read without decoding the others.
///
/// # Errors
/// When the bytes are no map.
pub fn get(bytes: &[u8], key: &str) -> Result<Option<Value>, WireError> {
    locate(bytes, key)?.map(|mut at| read_value(&mut at, 0)).transpose()
}

/// A value of an encoded map.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// The bytes of a string where they stand, in modified UTF-8 if the map is sound.
    String(&'a [u8]),
    /// Anything but a string.
    Value(Value),
}

/// Like [`get`], but leaves a string where it stands, so that looking at properties copies nothing.
///
/// # Errors
/// When the bytes are no map.
pub fn find<'a>(bytes: &'a [u8], key: &str) -> Result<Option<Found<'a>>, WireError> {
    let Some(mut at) = locate(bytes, key)? else { return Ok(None) };
    let mut text = at.clone();
    let length = match text.u8()? {
        tag::STRING => usize::from(text.u16()?),
        tag::BIG_STRING => text.int_length()?,
        _ => return read_value(&mut at, 0).map(|value| Some(Found::Value(value))),
    };
    text.take(length).map(|text| Some(Found::String(text)))
}

/// Where the value of the last entry with this key begins.
fn locate<'a>(bytes: &'a [u8], key: &str) -> Result<Option<Input<'a>>, WireError> {
    let encoded;
    let wanted = if key.is_ascii() && !key.contains('\0') {
        key.as_bytes()
    } else {
        encoded = Text::from(key);
        encoded.as_bytes()
    };
    let mut input = Input::new(bytes);
    let mut found = None;
    for _ in 0..entry_count(&mut input)?.unwrap_or_default() {
        let length = usize::from(input.u16()?);
        if input.take(length)? == wanted {
            found = Some(input.clone());
        }
        skip_value(&mut input, 0)?;
    }
    input.finish()?;
    Ok(found)
}

/// Reads values to the end of `bytes`, as a stream body has them.
///
/// # Errors
/// When the bytes are not a sequence of values.
pub fn decode_values(bytes: &[u8]) -> Result<Vec<Value>, WireError> {
    let mut input = Input::new(bytes);
    let mut values = Vec::new();
    while input.remaining() > 0 {
        values.push(read_value(&mut input, 0)?);
    }
    Ok(values)
}

/// Writes values one after another, as a stream body has them.
///
/// # Errors
/// When a value is longer than OpenWire can say.
pub fn encode_values(values: &[Value]) -> Result<Bytes, WireError> {
    let mut out = BytesMut::new();
    for value in values {
        write_value(value, &mut out)?;
    }
    Ok(out.freeze())
}

/// Entries of a map, checked against the bytes that could hold them; `None` for the null map.
fn entry_count(input: &mut Input<'_>) -> Result<Option<usize>, WireError> {
    let Ok(count) = usize::try_from(input.i32()?) else { return Ok(None) };
    input.require(count.saturating_mul(ENTRY_BYTES_MIN))?;
    Ok(Some(count))
}

fn deeper(depth: u32) -> Result<u32, WireError> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(WireError::TooDeep { limit: DEPTH_MAX }) }
}

fn read_map(input: &mut Input<'_>, depth: u32) -> Result<Option<PrimitiveMap>, WireError> {
    let Some(count) = entry_count(input)? else { return Ok(None) };
    let mut entries = Vec::with_capacity(count.min(RESERVED_MAX));
    for _ in 0..count {
        let length = usize::from(input.u16()?);
        let key = input.text(length)?;
        entries.push((key, read_value(input, depth)?));
    }
    Ok(Some(PrimitiveMap(entries)))
}

fn read_list(input: &mut Input<'_>, depth: u32) -> Result<Vec<Value>, WireError> {
    let count = input.int_length()?;
    input.require(count)?;
    let mut values = Vec::with_capacity(count.min(RESERVED_MAX));
    for _ in 0..count {
        values.push(read_value(input, depth)?);
    }
    Ok(values)
}

/// `depth` counts the maps and lists around the value.
fn read_value(input: &mut Input<'_>, depth: u32) -> Result<Value, WireError> {
    let offset = input.offset();
    Ok(match input.u8()? {
        tag::NULL => Value::Null,
        tag::BOOLEAN => Value::Boolean(input.u8()? != 0),
        tag::BYTE => Value::Byte(input.i8()?),
        tag::CHAR => Value::Char(input.u16()?),
        tag::SHORT => Value::Short(input.i16()?),
        tag::INT => Value::Int(input.i32()?),
        tag::LONG => Value::Long(input.i64()?),
        tag::DOUBLE => Value::Double(f64::from_bits(input.u64()?)),
        tag::FLOAT => Value::Float(f32::from_bits(input.u32()?)),
        tag::STRING => {
            let length = usize::from(input.u16()?);
            Value::String(input.text(length)?)
        }
        tag::BIG_STRING => {
            let length = input.int_length()?;
            Value::String(input.text(length)?)
        }
        tag::BYTES => {
            let length = input.int_length()?;
            Value::Bytes(Bytes::copy_from_slice(input.take(length)?))
        }
        tag::MAP => read_map(input, deeper(depth)?)?.map_or(Value::Null, Value::Map),
        tag::LIST => Value::List(read_list(input, deeper(depth)?)?),
        unknown => return Err(unknown_tag(offset, unknown)),
    })
}

/// Steps over a value; texts are not looked into.
fn skip_value(input: &mut Input<'_>, depth: u32) -> Result<(), WireError> {
    let offset = input.offset();
    let length = match input.u8()? {
        tag::NULL => 0,
        tag::BOOLEAN | tag::BYTE => 1,
        tag::CHAR | tag::SHORT => 2,
        tag::INT | tag::FLOAT => 4,
        tag::LONG | tag::DOUBLE => 8,
        tag::STRING => usize::from(input.u16()?),
        tag::BIG_STRING | tag::BYTES => input.int_length()?,
        tag::MAP => {
            let depth = deeper(depth)?;
            for _ in 0..entry_count(input)?.unwrap_or_default() {
                let key = usize::from(input.u16()?);
                input.take(key)?;
                skip_value(input, depth)?;
            }
            0
        }
        tag::LIST => {
            let depth = deeper(depth)?;
            let count = input.int_length()?;
            input.require(count)?;
            for _ in 0..count {
                skip_value(input, depth)?;
            }
            0
        }
        unknown => return Err(unknown_tag(offset, unknown)),
    };
    input.take(length).map(drop)
}

fn unknown_tag(offset: usize, tag: u8) -> WireError {
    WireError::Map(format!("value at offset {offset} has unknown tag {tag}"))
}

fn write_map(map: &PrimitiveMap, out: &mut BytesMut) -> Result<(), WireError> {
    put_length("a map", map.len(), out)?;
    for (key, value) in map.iter() {
        put_short_text("a map key", key, out)?;
        write_value(value, out)?;
    }
    Ok(())
}

fn write_value(value: &Value, out: &mut BytesMut) -> Result<(), WireError> {
    out.put_u8(tag_of(value));
    match value {
        Value::Null => {}
        Value::Boolean(value) => out.put_u8(u8::from(*value)),
        Value::Byte(value) => out.put_i8(*value),
        Value::Char(value) => out.put_u16(*value),
        Value::Short(value) => out.put_i16(*value),
        Value::Int(value) => out.put_i32(*value),
        Value::Long(value) => out.put_i64(*value),
        Value::Double(value) => out.put_u64(value.to_bits()),
        Value::Float(value) => out.put_u32(value.to_bits()),
        Value::String(text) if is_big(text) => {
            put_length("a string", text.as_bytes().len(), out)?;
            out.put_slice(text.as_bytes());
        }
        Value::String(text) => put_short_text("a string", text, out)?,
        Value::Bytes(bytes) => {
            put_length("a byte array", bytes.len(), out)?;
            out.put_slice(bytes);
        }
        Value::Map(map) => write_map(map, out)?,
        Value::List(values) => {
            put_length("a list", values.len(), out)?;
            for value in values {
                write_value(value, out)?;
            }
        }
    }
    Ok(())
}

fn tag_of(value: &Value) -> u8 {
    match value {
        Value::Null => tag::NULL,
        Value::Boolean(_) => tag::BOOLEAN,
        Value::Byte(_) => tag::BYTE,
        Value::Char(_) => tag::CHAR,
        Value::Short(_) => tag::SHORT,
        Value::Int(_) => tag::INT,
        Value::Long(_) => tag::LONG,
        Value::Double(_) => tag::DOUBLE,
        Value::Float(_) => tag::FLOAT,
        Value::String(text) if is_big(text) => tag::BIG_STRING,
        Value::String(_) => tag::STRING,
        Value::Bytes(_) => tag::BYTES,
        Value::List(_) => tag::LIST,
        Value::Map(_) => tag::MAP,
    }
}

/// The rule counts UTF-16 units, not bytes.
fn is_big(text: &Text) -> bool {
    text.as_bytes().len() >= BIG_STRING_UNITS && text.utf16_len() >= BIG_STRING_UNITS
}

/// A length of four bytes.
pub(super) fn put_length(
    what: &'static str,
    length: usize,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let limit = i32::MAX as usize;
    let told = i32::try_from(length).map_err(|_| WireError::TooLong { what, length, limit })?;
    out.put_i32(told);
    Ok(())
}

/// A text behind a length of two bytes.
pub(super) fn put_short_text(
    what: &'static str,
    text: &Text,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let bytes = text.as_bytes();
    let limit = usize::from(u16::MAX);
    let told = u16::try_from(bytes.len()).map_err(|_| WireError::TooLong {
        what,
        length: bytes.len(),
        limit,
    })?;
    out.put_u16(told);
    out.put_slice(bytes);
    Ok(())
}

macro_rules! value_from {
    ($($of:ty => $variant:ident)*) => { $(
        impl From<$of> for Value {
            fn from(value: $of) -> Self {
                Self::$variant(value.into())
            }
        }
    )* };
}

value_from! {
    bool => Boolean
    i8 => Byte
    i16 => Short
    i32 => Int
    i64 => Long
    f32 => Float
    f64 => Double
    &str => String
    String => String
    Text => String
    Bytes => Bytes
    Vec<Value> => List
    PrimitiveMap => Map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: u32) -> Value {
        (0..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]))
    }

    #[test]
    fn one_key_is_found_without_decoding_the_rest() {
        let map: PrimitiveMap = [
            ("deep", Value::Map([("in", 1), ("side", 2)].into_iter().collect())),
            ("list", Value::List(vec![Value::Null, "text".into()])),
            ("äöü", true.into()),
            ("last", 7i64.into()),
        ]
        .into_iter()
        .collect();
        let bytes = map.encode().unwrap();
        for (key, value) in map.iter() {
            assert_eq!(get(&bytes, &key.to_str()).unwrap().as_ref(), Some(value));
            assert_eq!(find(&bytes, &key.to_str()), Ok(Some(Found::Value(value.clone()))));
        }
        assert_eq!(get(&bytes, "absent"), Ok(None));
        assert_eq!(get(&[0xFF; 4], "in the null map"), Ok(None));
    }

    #[test]
    fn a_string_can_be_looked_at_where_it_stands() {
        let long = "x".repeat(BIG_STRING_UNITS);
        let map: PrimitiveMap = [("a", "é"), ("b", long.as_str())].into_iter().collect();
        let bytes = map.encode().unwrap();
        assert_eq!(find(&bytes, "a"), Ok(Some(Found::String("é".as_bytes()))));
        assert_eq!(find(&bytes, "b"), Ok(Some(Found::String(long.as_bytes()))));
        assert_eq!(find(&bytes, "c"), Ok(None));
        assert!(find(&bytes[..bytes.len() - 1], "a").is_err());
    }

    #[test]
    fn of_equal_keys_the_last_one_counts() {
        let map: PrimitiveMap = [("k", 1), ("k", 2)].into_iter().collect();
        assert_eq!(map.get("k"), Some(&Value::Int(2)));
        assert_eq!(get(&map.encode().unwrap(), "k"), Ok(Some(Value::Int(2))));
    }

    #[test]
    fn insert_replaces_in_place_and_remove_takes_out() {
        let mut map: PrimitiveMap = [("a", 1), ("b", 2)].into_iter().collect();
        map.insert("a", "new");
        let keys: Vec<_> = map.iter().map(|(key, _)| key.to_str()).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(map.remove("a"), Some("new".into()));
        assert_eq!((map.remove("a"), map.len()), (None, 1));
    }

    #[test]
    fn a_map_cut_at_any_byte_is_refused() {
        let map: PrimitiveMap = [
            ("k", Value::List(vec![1i32.into(), "x".into()])),
            ("b", Bytes::from_static(b"y").into()),
        ]
        .into_iter()
        .collect();
        let whole = map.encode().unwrap();
        for cut in 0..whole.len() {
            assert!(PrimitiveMap::decode(&whole[..cut]).is_err(), "cut at byte {cut}");
            assert!(get(&whole[..cut], "b").is_err(), "cut at byte {cut}");
        }
        assert_eq!(PrimitiveMap::decode(&whole), Ok(Some(map)));
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let at_limit: PrimitiveMap = [("k", nested(DEPTH_MAX))].into_iter().collect();
        let bytes = at_limit.encode().unwrap();
        assert_eq!(PrimitiveMap::decode(&bytes), Ok(Some(at_limit)));
        let beyond: PrimitiveMap = [("k", nested(DEPTH_MAX + 1))].into_iter().collect();
        let bytes = beyond.encode().unwrap();
        let too_deep = WireError::TooDeep { limit: DEPTH_MAX };
        assert_eq!(PrimitiveMap::decode(&bytes), Err(too_deep));
        assert_eq!(get(&bytes, "k"), Err(WireError::TooDeep { limit: DEPTH_MAX }));
    }

    #[test]
    fn a_count_that_no_bytes_back_is_refused() {
        let error = PrimitiveMap::decode(&[0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0]).unwrap_err();
        assert!(matches!(error, WireError::Truncated { offset: 4, .. }), "{error}");
    }

    #[test]
    fn a_string_is_big_by_its_units_not_by_its_bytes() {
        let tag_of_text = |units: usize| tag_of(&"é".repeat(units).into());
        assert_eq!(tag_of_text(8190), tag::STRING);
        assert_eq!(tag_of_text(8191), tag::BIG_STRING);
    }
}
