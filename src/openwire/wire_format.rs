//! What each side offers in its first frame, and what both agree on.

use super::fields::WireError;
use super::map::{PrimitiveMap, Value};
use super::{Text, WireFormatInfo};

/// What a WireFormatInfo begins with, after its type.
pub const MAGIC: [u8; 8] = *b"ActiveMQ";
/// The newest version spoken here.
pub const VERSION_MAX: u8 = 12;
/// The oldest version spoken here.
pub const VERSION_MIN: u8 = 1;
/// Slots of the value cache when no size was given: half of what an index can say.
pub const CACHE_SLOTS_MAX: usize = 16383;
/// Java's cache needs that many free slots before each frame; with fewer slots its sender hangs.
pub const CACHE_SLOTS_MIN: usize = 100;

/// Entries that a peer's properties may have, as in ActiveMQ since 5.19.
pub const PROPERTIES_MAX: usize = 64;
/// Bytes that a key, string or byte array among them may have.
pub const PROPERTY_BYTES_MAX: usize = 512;
/// Bytes that all of them together may have.
pub const PROPERTIES_BYTES_MAX: usize = 8 << 10;

/// What one side proposes. The defaults are those of ActiveMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The newest version this side speaks.
    pub version: i32,
    pub stack_trace: bool,
    pub tcp_no_delay: bool,
    pub cache: bool,
    /// Slots of the value cache; 0 stands for [`CACHE_SLOTS_MAX`].
    pub cache_size: i32,
    pub tight_encoding: bool,
    pub size_prefix_disabled: bool,
    /// Bytes; 0 or less is no proposal. A side must propose one: without any a Java peer refuses all.
    pub max_frame_size: i64,
    /// Whether this side refuses longer frames. Not negotiated: each side minds its own.
    pub max_frame_size_enabled: bool,
    /// After this long without a byte a connection is dead; 0 is never.
    pub max_inactivity_ms: i64,
    /// How long after the start inactivity counts.
    pub initial_delay_ms: i64,
    /// The host the client meant to reach. Brokers send none.
    pub host: Option<Text>,
    pub provider_name: Option<Text>,
    pub provider_version: Option<Text>,
    pub platform_details: Option<Text>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            version: i32::from(VERSION_MAX),
            stack_trace: true,
            tcp_no_delay: true,
            cache: true,
            cache_size: 1024,
            tight_encoding: true,
            size_prefix_disabled: false,
            max_frame_size: i64::MAX,
            max_frame_size_enabled: true,
            max_inactivity_ms: 30_000,
            initial_delay_ms: 10_000,
            host: None,
            provider_name: Some(env!("CARGO_PKG_NAME").into()),
            provider_version: Some(env!("CARGO_PKG_VERSION").into()),
            platform_details: None,
        }
    }
}

impl Offer {
    /// The same offer, fit to be sent: a version this crate speaks, and no cache so small that it
    /// hangs a Java peer. What is sent and what is given to [`negotiate`] must be the same offer.
    #[must_use]
    pub fn fit(mut self) -> Self {
        self.version = self.version.clamp(i32::from(VERSION_MIN), i32::from(VERSION_MAX));
        let too_small = 1..i32::try_from(CACHE_SLOTS_MIN).unwrap_or(i32::MAX);
        self.cache &= !too_small.contains(&self.cache_size);
        self
    }

    /// The frame that says this offer.
    ///
    /// # Errors
    /// When one of the texts is longer than a primitive map can hold.
    pub fn to_info(&self) -> Result<WireFormatInfo, WireError> {
        let mut properties = PrimitiveMap::new();
        properties.insert("StackTraceEnabled", self.stack_trace);
        properties.insert("TcpNoDelayEnabled", self.tcp_no_delay);
        properties.insert("CacheEnabled", self.cache);
        properties.insert("CacheSize", self.cache_size);
        properties.insert("TightEncodingEnabled", self.tight_encoding);
        properties.insert("SizePrefixDisabled", self.size_prefix_disabled);
        properties.insert("MaxFrameSize", self.max_frame_size);
        properties.insert("MaxFrameSizeEnabled", self.max_frame_size_enabled);
        properties.insert("MaxInactivityDuration", self.max_inactivity_ms);
        properties.insert("MaxInactivityDurationInitalDelay", self.initial_delay_ms);
        let texts = [
            ("Host", &self.host),
            ("ProviderName", &self.provider_name),
            ("ProviderVersion", &self.provider_version),
            ("PlatformDetails", &self.platform_details),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                properties.insert(key, text.clone());
            }
        }
        Ok(WireFormatInfo {
            magic: MAGIC,
            version: self.version,
            marshalled_properties: Some(properties.encode()?),
        })
    }

    /// Reads a peer's offer. What it leaves out is off, or zero.
    ///
    /// # Errors
    /// When the peer does not speak OpenWire, speaks only versions below `minimum_version`, or sends
    /// properties of a wrong type or beyond the limits of this module.
    pub fn from_info(info: &WireFormatInfo, minimum_version: i32) -> Result<Self, WireError> {
        if info.magic != MAGIC {
            return Err(WireError::Magic { found: info.magic });
        }
        let minimum = minimum_version.max(i32::from(VERSION_MIN));
        if info.version < minimum {
            return Err(WireError::Version { version: info.version, minimum });
        }
        let bytes = info.marshalled_properties.as_deref().unwrap_or_default();
        let properties = Properties::decode(bytes)?;
        Ok(Self {
            version: info.version,
            stack_trace: properties.boolean("StackTraceEnabled")?,
            tcp_no_delay: properties.boolean("TcpNoDelayEnabled")?,
            cache: properties.boolean("CacheEnabled")?,
            cache_size: properties.int("CacheSize")?,
            tight_encoding: properties.boolean("TightEncodingEnabled")?,
            size_prefix_disabled: properties.boolean("SizePrefixDisabled")?,
            max_frame_size: properties.long("MaxFrameSize")?,
            max_frame_size_enabled: properties.boolean("MaxFrameSizeEnabled")?,
            max_inactivity_ms: properties.long("MaxInactivityDuration")?,
            initial_delay_ms: properties.long("MaxInactivityDurationInitalDelay")?,
            host: properties.text("Host")?,
            provider_name: properties.text("ProviderName")?,
            provider_version: properties.text("ProviderVersion")?,
            platform_details: properties.text("PlatformDetails")?,
        })
    }
}

/// The properties of a peer, which is not trusted yet.
struct Properties(PrimitiveMap);

impl Properties {
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > PROPERTIES_BYTES_MAX {
            let length = bytes.len();
            let text = format!("{length} bytes, more than {PROPERTIES_BYTES_MAX}");
            return Err(WireError::Properties(text));
        }
        if bytes.is_empty() {
            return Ok(Self(PrimitiveMap::new()));
        }
        let map = PrimitiveMap::decode(bytes)?.unwrap_or_default();
        if map.len() > PROPERTIES_MAX {
            let text = format!("{} entries, more than {PROPERTIES_MAX}", map.len());
            return Err(WireError::Properties(text));
        }
        for (key, value) in map.iter() {
            let mut length = key.as_bytes().len();
            if let Value::String(text) = value {
                length = length.max(text.as_bytes().len());
            } else if let Value::Bytes(bytes) = value {
                length = length.max(bytes.len());
            } else if matches!(value, Value::List(_) | Value::Map(_)) {
                return Err(WireError::Properties(format!("{key} is a map or a list")));
            }
            if length > PROPERTY_BYTES_MAX {
                let text = format!("an entry is longer than {PROPERTY_BYTES_MAX} bytes");
                return Err(WireError::Properties(text));
            }
        }
        Ok(Self(map))
    }

    fn boolean(&self, key: &str) -> Result<bool, WireError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Boolean(value)) => Ok(*value),
            Some(other) => Err(wrong_type(key, "boolean", other)),
        }
    }

    fn int(&self, key: &str) -> Result<i32, WireError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(0),
            Some(Value::Int(value)) => Ok(*value),
            Some(other) => Err(wrong_type(key, "int", other)),
        }
    }

    fn long(&self, key: &str) -> Result<i64, WireError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(0),
            Some(Value::Long(value)) => Ok(*value),
            Some(other) => Err(wrong_type(key, "long", other)),
        }
    }

    fn text(&self, key: &str) -> Result<Option<Text>, WireError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong_type(key, "string", other)),
        }
    }
}

fn wrong_type(key: &str, expected: &str, found: &Value) -> WireError {
    WireError::Properties(format!("{key} is {found:?}, where a {expected} is due"))
}

/// What a connection speaks after both first frames, in both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireFormat {
    pub version: u8,
    pub tight: bool,
    /// Slots of the value cache of each direction; `None` without a cache.
    pub cache_slots: Option<usize>,
    /// Whether exceptions travel with their stack and cause.
    pub stack_trace: bool,
    pub size_prefix_disabled: bool,
    /// The longest payload in bytes; 0 when neither side said one, which is no limit.
    pub max_frame_size: u64,
    pub tcp_no_delay: bool,
    /// 0 when inactivity is not watched.
    pub max_inactivity_ms: u64,
    pub initial_delay_ms: u64,
}

impl WireFormat {
    /// How the first frame of each side goes, whatever is agreed on later.
    pub const HANDSHAKE: Self = Self {
        version: VERSION_MIN,
        tight: false,
        cache_slots: None,
        stack_trace: false,
        size_prefix_disabled: false,
        max_frame_size: PROPERTIES_BYTES_MAX as u64 + 64,
        tcp_no_delay: false,
        max_inactivity_ms: 0,
        initial_delay_ms: 0,
    };

    /// How Java's stores and cursors write messages: loose, without cache and stacks, version 11.
    pub const STORE: Self = Self { version: 11, max_frame_size: 0, ..Self::HANDSHAKE };

    /// Refuses a payload of `length` bytes that is longer than agreed.
    ///
    /// # Errors
    /// With ActiveMQ's words for it.
    pub fn check_frame_size(&self, length: u64) -> Result<(), WireError> {
        let limit = self.max_frame_size;
        if limit == 0 || length <= limit {
            return Ok(());
        }
        Err(WireError::FrameTooLarge { size: size_in_words(length), limit: size_in_words(limit) })
    }
}

/// A size in the largest unit that it fills at least once, rounded down, as ActiveMQ prints it.
fn size_in_words(bytes: u64) -> String {
    for (unit, shift) in [("GB", 30), ("MB", 20), ("KB", 10)] {
        let count = bytes >> shift;
        if count > 0 {
            return format!("{count} {unit}");
        }
    }
    format!("{bytes} bytes")
}

/// What two offers agree on. Each side computes it by itself, with the same result.
pub fn negotiate(local: &Offer, remote: &Offer) -> WireFormat {
    let highest = i64::from(VERSION_MAX);
    let version = least_given(local.version.into(), remote.version.into()).min(highest);
    let cache = local.cache && remote.cache;
    WireFormat {
        version: u8::try_from(version).unwrap_or_default().max(VERSION_MIN),
        tight: local.tight_encoding && remote.tight_encoding,
        cache_slots: cache.then(|| cache_slots(local.cache_size.min(remote.cache_size))),
        stack_trace: local.stack_trace && remote.stack_trace,
        size_prefix_disabled: local.size_prefix_disabled && remote.size_prefix_disabled,
        max_frame_size: not_negative(least_given(local.max_frame_size, remote.max_frame_size)),
        tcp_no_delay: local.tcp_no_delay && remote.tcp_no_delay,
        max_inactivity_ms: not_negative(local.max_inactivity_ms.min(remote.max_inactivity_ms)),
        initial_delay_ms: not_negative(local.initial_delay_ms.min(remote.initial_delay_ms)),
    }
}

fn cache_slots(size: i32) -> usize {
    match usize::try_from(size) {
        Ok(slots @ 1..=CACHE_SLOTS_MAX) => slots,
        _ => CACHE_SLOTS_MAX,
    }
}

/// The smaller of two proposals, of which 0 or less is none.
fn least_given(a: i64, b: i64) -> i64 {
    match (a > 0, b > 0) {
        (true, true) => a.min(b),
        (true, false) => a,
        _ => b,
    }
}

fn not_negative(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn with(properties: PrimitiveMap) -> Result<Offer, WireError> {
        let marshalled_properties = Some(properties.encode().unwrap());
        let info = WireFormatInfo { magic: MAGIC, version: 12, marshalled_properties };
        Offer::from_info(&info, 1)
    }

    #[test]
    fn an_offer_survives_its_frame() {
        let offer = Offer { host: Some("broker.example".into()), ..Offer::default() };
        assert_eq!(Offer::from_info(&offer.to_info().unwrap(), 1), Ok(offer));
    }

    #[test]
    fn what_a_peer_leaves_out_is_off() {
        let info = WireFormatInfo { magic: MAGIC, version: 3, marshalled_properties: None };
        let remote = Offer::from_info(&info, 1).unwrap();
        let agreed = negotiate(&Offer::default(), &remote);
        let expected =
            WireFormat { version: 3, max_frame_size: i64::MAX as u64, ..WireFormat::HANDSHAKE };
        assert_eq!(agreed, expected);
    }

    #[test]
    fn a_peer_of_another_protocol_or_too_old_is_refused() {
        let mut info = Offer::default().to_info().unwrap();
        info.version = 8;
        let error = Offer::from_info(&info, 9).unwrap_err();
        let text = "Remote wire format (8) is lower the minimum version required (9)";
        assert_eq!(error.to_string(), text);
        for version in [0, -1] {
            info.version = version;
            assert_eq!(Offer::from_info(&info, 0), Err(WireError::Version { version, minimum: 1 }));
        }
        info.magic = *b"HTTP/1.1";
        assert_eq!(Offer::from_info(&info, 1), Err(WireError::Magic { found: *b"HTTP/1.1" }));
    }

    #[test]
    fn a_newer_peer_speaks_our_version() {
        let newer = Offer { version: 99, ..Offer::default() };
        assert_eq!(negotiate(&Offer::default(), &newer).version, 12);
    }

    #[test]
    fn properties_have_their_types_and_their_limits() {
        let refused = |key: String, value: Value| {
            let error = with([(key, value)].into_iter().collect()).unwrap_err();
            assert!(matches!(error, WireError::Properties(_)), "{error}");
        };
        refused("CacheSize".into(), 1024i64.into());
        refused("MaxFrameSize".into(), 1024i32.into());
        refused("Host".into(), true.into());
        refused("Any".into(), Value::List(vec![]));
        refused("Any".into(), PrimitiveMap::new().into());
        refused("Any".into(), "x".repeat(PROPERTY_BYTES_MAX + 1).into());
        refused("Any".into(), Bytes::from(vec![0; PROPERTY_BYTES_MAX + 1]).into());
        refused("k".repeat(PROPERTY_BYTES_MAX + 1), Value::Null);
        let entries = |count: usize| (0..count).map(|n| (format!("k{n}"), Value::Null)).collect();
        assert!(with(entries(PROPERTIES_MAX)).is_ok());
        assert!(with(entries(PROPERTIES_MAX + 1)).is_err());
        let long: PrimitiveMap = (0..20).map(|n| (format!("k{n}"), "x".repeat(500))).collect();
        assert!(matches!(with(long), Err(WireError::Properties(_))));
    }

    #[test]
    fn a_small_cache_is_not_offered() {
        let small = |cache_size| Offer { cache_size, ..Offer::default() }.fit().cache;
        assert_eq!([0, 1, 99, 100].map(small), [true, false, false, true]);
    }

    #[test]
    fn sizes_are_told_as_activemq_tells_them() {
        let words = [200_000, 100_000, 1023, 1 << 20, (1 << 30) - 1, 5 << 30].map(size_in_words);
        assert_eq!(words, ["195 KB", "97 KB", "1023 bytes", "1 MB", "1023 MB", "5 GB"]);
        let format = WireFormat { max_frame_size: 100_000, ..WireFormat::STORE };
        let error = format.check_frame_size(200_000).unwrap_err();
        assert_eq!(error.to_string(), "Frame size of 195 KB larger than max allowed 97 KB");
        assert_eq!(format.check_frame_size(100_000), Ok(()));
    }
}
