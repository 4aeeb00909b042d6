//! What the broker asks of a message beyond its fields.

use crate::openwire::Message;

/// What ActiveMQ takes a message to cost at least (`minimumMessageSize`).
pub const MESSAGE_BYTES_MIN: usize = 1024;

impl Message {
    /// The memory estimate of ActiveMQ, which producer windows and memory limits count in:
    /// 1024 plus properties plus content.
    pub fn memory_bytes(&self) -> usize {
        let slices = [&self.marshalled_properties, &self.content];
        MESSAGE_BYTES_MIN + slices.into_iter().flatten().map(|slice| slice.len()).sum::<usize>()
    }

    /// Whether its time to live is over at `now_ms`; 0 lives for ever.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expiration > 0 && now_ms > self.expiration
    }
}
