//! One message for many consumers: what differs for each is put in while the frame is written.

use std::sync::Arc;

use bytes::Bytes;

use super::fields::{Cacheable, FieldWriter, WireError};
use super::{Message, Text};

/// What one consumer is told of a message that it shares with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    /// When the broker dispatched it, in milliseconds since 1970.
    pub broker_out_time: i64,
    /// Whether it is the first of its group for this consumer.
    pub jmsx_group_first_for_consumer: bool,
}

/// Writes like `inner`, but some fields of `message` with other values.
///
/// The table hands out its fields by reference, so a field of the message is known by where it lies.
pub(super) struct Overriding<'a, W> {
    inner: &'a mut W,
    message: &'a Message,
    redelivery_counter: i32,
    delivery: Delivery,
}

impl<'a, W> Overriding<'a, W> {
    pub(super) fn new(
        inner: &'a mut W,
        message: &'a Message,
        redelivery_counter: i32,
        delivery: Delivery,
    ) -> Self {
        Self { inner, message, redelivery_counter, delivery }
    }
}

impl<W: FieldWriter> FieldWriter for Overriding<'_, W> {
    fn version(&self) -> u8 {
        self.inner.version()
    }

    fn stack_trace(&self) -> bool {
        self.inner.stack_trace()
    }

    fn fail(&mut self, error: WireError) {
        self.inner.fail(error);
    }

    fn boolean(&mut self, value: &bool) {
        let overridden = std::ptr::eq(value, &self.message.jmsx_group_first_for_consumer);
        let told = *value || overridden && self.delivery.jmsx_group_first_for_consumer;
        self.inner.boolean(&told);
    }

    fn byte(&mut self, value: &i8) {
        self.inner.byte(value);
    }

    fn short(&mut self, value: &i16) {
        self.inner.short(value);
    }

    fn int(&mut self, value: &i32) {
        let overridden = std::ptr::eq(value, &self.message.redelivery_counter);
        self.inner.int(if overridden { &self.redelivery_counter } else { value });
    }

    fn long(&mut self, value: &i64) {
        let overridden = std::ptr::eq(value, &self.message.broker_out_time);
        self.inner.long(if overridden { &self.delivery.broker_out_time } else { value });
    }

    fn string(&mut self, value: &Option<Text>) {
        self.inner.string(value);
    }

    fn bytes(&mut self, value: &Option<Bytes>) {
        self.inner.bytes(value);
    }

    fn magic(&mut self, value: &[u8; 8]) {
        self.inner.magic(value);
    }

    fn cached<T: Cacheable>(&mut self, value: &Option<Arc<T>>) {
        self.inner.cached(value);
    }

    fn nested_code(&mut self, code: u8) {
        self.inner.nested_code(code);
    }
}
