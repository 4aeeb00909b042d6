//! The codec on what a broker writes and reads most: a dispatch with a message of 1 KiB, and its
//! acknowledgement.
//!
//! `cargo bench --bench codec`. At 30,000 messages a second a broker has 33 us of a core for each; 5 us
//! is the aim for all of its work, so a frame should cost well below 1 us.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openwired::openwire::{
    Command, ConsumerId, Decoder, Delivery, Destination, Encoder, Message, MessageAck,
    MessageClass, MessageDispatch, MessageId, PrimitiveMap, ProducerId, WireFormat, ack_type, map,
};

const BODY_BYTES: usize = 1024;

fn message(sequence: i64) -> Message {
    let producer = Arc::new(ProducerId::new("ID:producer-host-41234-1795379901917-1:1", 1, 1));
    let properties: PrimitiveMap = [("colour", "blue"), ("size", "large")].into_iter().collect();
    Message {
        class: MessageClass::Bytes,
        command_id: 17,
        response_required: true,
        producer_id: Some(Arc::clone(&producer)),
        destination: Some(Arc::new(Destination::queue("ORDERS.INCOMING"))),
        message_id: Some(MessageId {
            broker_sequence_id: sequence,
            ..MessageId::new(producer, sequence)
        }),
        persistent: true,
        priority: 4,
        timestamp: 1_795_379_901_917,
        content: Some(Bytes::from(vec![0x5A; BODY_BYTES])),
        marshalled_properties: Some(properties.encode().unwrap()),
        broker_in_time: 1_795_379_901_918,
        ..Message::default()
    }
}

fn dispatch(sequence: i64) -> MessageDispatch {
    let message = message(sequence);
    MessageDispatch {
        consumer_id: Some(Arc::new(ConsumerId::new("ID:consumer-host-1-17953799-1:1", 1, 1))),
        destination: message.destination.clone(),
        message: Some(Arc::new(message)),
        ..MessageDispatch::default()
    }
}

fn ack(sequence: i64) -> MessageAck {
    let message = message(sequence);
    MessageAck {
        destination: message.destination,
        consumer_id: Some(Arc::new(ConsumerId::new("ID:consumer-host-1-17953799-1:1", 1, 1))),
        ack_type: ack_type::STANDARD,
        last_message_id: message.message_id,
        message_count: 1,
        ..MessageAck::default()
    }
}

fn formats() -> impl Iterator<Item = (String, WireFormat)> {
    let kinds = [(true, None), (true, Some(1024)), (false, None), (false, Some(1024))];
    kinds.into_iter().map(|(tight, cache_slots)| {
        let encoding = if tight { "tight" } else { "loose" };
        let cache = cache_slots.map_or("uncached", |_| "cached");
        let format =
            WireFormat { version: 12, tight, cache_slots, max_frame_size: 0, ..WireFormat::STORE };
        (format!("{encoding}, {cache}"), format)
    })
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode MessageDispatch 1 KiB");
    group.throughput(Throughput::Elements(1));
    for (name, format) in formats() {
        let (mut encoder, dispatch, mut out) =
            (Encoder::new(&format), dispatch(100_000), BytesMut::with_capacity(4096));
        let delivery = Delivery { broker_out_time: 1_795_379_901_920, ..Delivery::default() };
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                encoder.encode_dispatch(black_box(&dispatch), delivery, &mut out).unwrap();
                black_box(out.len())
            });
        });
    }
    group.finish();
}

/// Two payloads: the first fills the cache, the second is what a connection sees from then on.
fn payloads(format: &WireFormat, commands: [Command; 2]) -> [Bytes; 2] {
    let mut encoder = Encoder::new(format);
    commands.map(|command| {
        let mut out = BytesMut::new();
        encoder.encode(&command, &mut out).unwrap();
        out.freeze().slice(4..)
    })
}

fn decode(c: &mut Criterion) {
    for (what, commands) in [
        ("decode message 1 KiB", [message(1), message(100_000)].map(Command::from)),
        ("decode MessageAck", [ack(1), ack(100_000)].map(Command::from)),
    ] {
        let mut group = c.benchmark_group(what);
        group.throughput(Throughput::Elements(1));
        for (name, format) in formats() {
            let mut decoder = Decoder::new(&format);
            let [first, then] = payloads(&format, commands.clone());
            decoder.decode(first).unwrap();
            group.bench_function(name, |b| {
                b.iter(|| decoder.decode(black_box(&then).clone()).unwrap());
            });
        }
        group.finish();
    }
}

fn properties(c: &mut Criterion) {
    let properties: PrimitiveMap = (0..10).map(|n| (format!("property{n}"), n)).collect();
    let bytes = properties.encode().unwrap();
    c.bench_function("one of ten properties", |b| {
        b.iter(|| map::get(black_box(&bytes), "property7").unwrap());
    });
}

criterion_group!(benches, encode, decode, properties);
criterion_main!(benches);
