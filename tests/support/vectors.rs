//! The golden vectors beside this folder, and commands as the JSON that the vectors tell them in.

#![allow(dead_code, reason = "each test binary takes the part it needs")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use flate2::read::GzDecoder;
use openwired::openwire::fields::{Cacheable, FieldWriter, Structure};
use openwired::openwire::{Text, Throwable, WireError, WireFormat};
use serde_json::{Map, Value, json};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn unpacked(name: &str) -> String {
    let file = fs::File::open(folder().join(format!("{name}.gz"))).unwrap();
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

/// The lines of `name.jsonl`.
pub(crate) fn lines(name: &str) -> Vec<Value> {
    let text = unpacked(&format!("{name}.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The names of the recorded conversations.
pub(crate) fn conversations() -> Vec<String> {
    let entries = fs::read_dir(folder().join("conversations")).unwrap();
    let file_name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| file_name(entry.unwrap()).replace(".jsonl.gz", ""))
        .map(|name| format!("conversations/{name}"))
        .collect();
    names.sort();
    names
}

pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.chunks(2).map(byte).collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The settings that a line of vectors stands under.
pub(crate) fn format_of(line: &Value) -> WireFormat {
    let cache = line["cache"].as_bool().unwrap();
    let slots = match line["cacheSize"].as_u64() {
        None | Some(0) => 16383,
        Some(slots) => usize::try_from(slots).unwrap(),
    };
    WireFormat {
        version: u8::try_from(line["version"].as_u64().unwrap()).unwrap(),
        tight: line["tight"].as_bool().unwrap(),
        cache_slots: cache.then_some(slots),
        stack_trace: line["stackTrace"].as_bool().unwrap(),
        size_prefix_disabled: line["sizePrefix"] == json!(false),
        max_frame_size: 0,
        ..WireFormat::HANDSHAKE
    }
}

/// The names of a class and of its fields in wire order.
type Names = (String, Vec<String>);

/// By version and type code, from the reference table.
static NAMES: LazyLock<HashMap<(u8, u8), Names>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for row in unpacked("commands.tsv").lines().skip(1) {
        let columns: Vec<_> = row.split('\t').collect();
        let key = (columns[0].parse().unwrap(), columns[1].parse().unwrap());
        let entry = names.entry(key).or_insert_with(|| (columns[2].to_owned(), Vec::new()));
        if columns[4] != "-" {
            assert_eq!(columns[4], entry.1.len().to_string(), "row out of order: {row}");
            entry.1.push(columns[5].to_owned());
        }
    }
    names
});

/// The classes that a version has.
pub(crate) fn codes(version: u8) -> impl Iterator<Item = u8> {
    NAMES.keys().filter(move |key| key.0 == version).map(|key| key.1)
}

/// A structure as the vectors tell it: by the names of the reference table, in the order in which
/// the structure writes its fields.
pub(crate) fn told(structure: &impl Structure, format: &WireFormat) -> Value {
    let (version, stack_trace) = (format.version, format.stack_trace);
    let mut teller = Teller { version, stack_trace, values: Vec::new() };
    structure.write(&mut teller);
    let (class, fields) = &NAMES[&(version, structure.code())];
    assert_eq!(fields.len(), teller.values.len(), "fields of {class} in version {version}");
    let mut object: Map<_, _> = fields.iter().cloned().zip(teller.values).collect();
    object.insert("@type".to_owned(), json!(class));
    Value::Object(object)
}

/// Collects field values instead of encoding them.
struct Teller {
    version: u8,
    stack_trace: bool,
    values: Vec<Value>,
}

impl Teller {
    fn nested_value<T: Structure>(&self, value: &Option<T>) -> Value {
        let format = WireFormat {
            version: self.version,
            stack_trace: self.stack_trace,
            ..WireFormat::HANDSHAKE
        };
        value.as_ref().map_or(Value::Null, |structure| told(structure, &format))
    }

    fn throwable_value(&self, value: Option<&Throwable>) -> Value {
        let Some(throwable) = value else { return Value::Null };
        let mut told = json!({
            "class": text(&throwable.class_name),
            "message": text(&throwable.message),
        });
        if self.stack_trace {
            let frames = throwable.stack_trace.iter().map(|frame| {
                let names = [&frame.class_name, &frame.method_name, &frame.file_name].map(text);
                json!([names[0], names[1], names[2], frame.line_number])
            });
            told["stackTrace"] = frames.collect();
            told["cause"] = self.throwable_value(throwable.cause.as_deref());
        }
        told
    }
}

fn text(text: &Option<Text>) -> Value {
    text.as_ref().map_or(Value::Null, |text| json!(text.to_str()))
}

impl FieldWriter for Teller {
    fn version(&self) -> u8 {
        self.version
    }

    fn stack_trace(&self) -> bool {
        self.stack_trace
    }

    fn fail(&mut self, error: WireError) {
        panic!("{error}");
    }

    fn boolean(&mut self, value: &bool) {
        self.values.push(json!(value));
    }

    fn byte(&mut self, value: &i8) {
        self.values.push(json!(value));
    }

    fn short(&mut self, value: &i16) {
        self.values.push(json!(value));
    }

    fn int(&mut self, value: &i32) {
        self.values.push(json!(value));
    }

    fn long(&mut self, value: &i64) {
        self.values.push(json!(value));
    }

    fn string(&mut self, value: &Option<Text>) {
        self.values.push(text(value));
    }

    fn bytes(&mut self, value: &Option<Bytes>) {
        self.values.push(value.as_ref().map_or(Value::Null, |bytes| json!(to_hex(bytes))));
    }

    fn magic(&mut self, value: &[u8; 8]) {
        self.values.push(json!(to_hex(value)));
    }

    fn cached<T: Cacheable>(&mut self, value: &Option<Arc<T>>) {
        self.nested(value);
    }

    fn nested_code(&mut self, _: u8) {
        unreachable!("nested structures are told by themselves");
    }

    fn nested<T: Structure>(&mut self, value: &Option<T>) {
        let value = self.nested_value(value);
        self.values.push(value);
    }

    fn array<T: Structure>(&mut self, value: &Option<Vec<Option<T>>>) {
        let told = value.as_ref().map_or(Value::Null, |elements| {
            elements.iter().map(|element| self.nested_value(element)).collect()
        });
        self.values.push(told);
    }

    fn throwable(&mut self, value: &Option<Throwable>) {
        let value = self.throwable_value(value.as_ref());
        self.values.push(value);
    }
}
