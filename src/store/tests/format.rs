//! The bytes of each kind of record, of a batch and of the head of a segment, as they stay.

use bytes::BytesMut;

use crate::openwire::{
    ConsumerInfo, Destination, Message, MessageId, ProducerId, WireError, XaTransactionId,
};
use crate::store::audit::Audit;
use crate::store::batch::{BATCH_HEAD, BatchHead, BatchView, RecordView, Spot};
use crate::store::record::{Copied, Counters, Record, RecordWriter};
use crate::store::segment::{HeadRead, Seal, SegmentHead, SegmentName};
use crate::store::{Add, Branch, Key, OwnerId, OwnerRecord};

const OWNER: OwnerId = OwnerId(0x0102);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record without its head, whose check depends on where it lies.
fn record(
    write: impl FnOnce(&mut RecordWriter, &mut BytesMut) -> Result<usize, WireError>,
) -> String {
    let mut bytes = BytesMut::new();
    let length = write(&mut RecordWriter::new(), &mut bytes).unwrap();
    assert_eq!(length, bytes.len());
    assert_eq!(bytes[..4], u32::try_from(length).unwrap().to_be_bytes());
    let record = Record::parse(bytes[8], &bytes[9..]).unwrap();
    assert!(!format!("{record:?}").is_empty());
    for cut in 9..bytes.len() {
        // A message at the end of a record may be of any length; it is looked at when it is decoded.
        drop(Record::parse(bytes[8], &bytes[9..cut]));
    }
    hex(&bytes[8..])
}

fn message() -> Message {
    let producer = std::sync::Arc::new(ProducerId::new("c", 1, 2));
    let id = MessageId { broker_sequence_id: 9, ..MessageId::new(producer, 3) };
    Message { message_id: Some(id), expiration: 7, ..Message::default() }
}

/// As it is in OpenWire's loose encoding, version 12.
const MESSAGE: &str = concat!(
    "17 ",               // Message
    "00000000 00 ",      // command id, response required
    "00 00 00 00 ",      // producer, destination, transaction, original destination
    "01 6e ",            // MessageId
    "00 ",               // no text view
    "01 7b 01 0001 63 ", // ProducerId "c"
    "0000000000000002 0000000000000001 ",
    "0000000000000003 0000000000000009 ",
    "00 00 00000000 00 ", // original transaction, group, its sequence, correlation id
    "00 0000000000000007 ", // persistent, expiration
    "00 00 0000000000000000 ", // priority, reply to, timestamp
    "00 00 00 00 00 00 ", // type, content, properties, data structure, target, compressed
    "00000000 00 ",       // redelivery counter, broker path
    "0000000000000000 ",  // arrival
    "00 00 00 00 ",       // user, by bridge, droppable, cluster
    "0000000000000000 0000000000000000 00", // broker in and out time, first for consumer
);

#[track_caller]
fn check(record: &str, parts: &[&str]) {
    assert_eq!(record, parts.concat().replace(' ', ""));
}

#[test]
fn messages() {
    let keys = [(OWNER, Key::new(5, 6)), (OwnerId(3), Key::new(0, 1))];
    let head = "00000004 0000000000000007 0000000000000009 ";
    let holders = "00000002 0000000000000102 5000000000000006 0000000000000003 0000000000000001";
    let add = |due_ms| {
        let add = Add { owners: keys.to_vec(), message: message().into(), redeliveries: 4, due_ms };
        record(|writer, out| writer.add(out, &add))
    };
    let scheduled = add(Some(258));
    let due = "00000004 0000000000000102 0000000000000009 ";
    check(&scheduled, &["01", due, holders, MESSAGE]);
    let add = add(None);
    check(&add, &["01", head, holders, MESSAGE]);
    let copied = Copied {
        holders: keys.to_vec(),
        redeliveries: 4,
        expiration: 7,
        broker_sequence: 9,
        message: bytes::Bytes::from_static(b"\x17"),
    };
    check(&record(|writer, out| writer.copy(out, &copied)), &["02", head, holders, "17"]);
    let keys = [Key::new(9, 2), Key::new(0, 3)];
    let remove = record(|writer, out| writer.remove(out, OWNER, keys.into_iter()));
    check(&remove, &["03 0000000000000102 9000000000000002 0000000000000003"]);
    let redelivered = record(|writer, out| writer.redelivered(out, OWNER, Key::new(0, 3), 5));
    check(&redelivered, &["04 0000000000000102 0000000000000003 00000005"]);
    let fired = record(|writer, out| writer.fired(out, OWNER, Key::new(0, 3), 5, 258));
    check(&fired, &["0d 0000000000000102 0000000000000003 00000005 0000000000000102"]);
}

#[test]
fn owners() {
    let queue = OwnerRecord::Destination(Destination::queue("Q"));
    let queue = record(|writer, out| writer.owner(out, OWNER, 8, &queue));
    check(&queue, &["05 0000000000000102 0000000000000008 00 00000005 64 01 0001 51"]);
    let durable = OwnerRecord::Durable {
        client_id: "c".to_owned(),
        name: "n".to_owned(),
        info: Box::new(ConsumerInfo { prefetch_size: 1, ..ConsumerInfo::default() }),
    };
    let durable = record(|writer, out| writer.owner(out, OWNER, 8, &durable));
    let info = concat!(
        "05 00000000 00 00 00 00 ", // ConsumerInfo: command, consumer, browser, destination
        "00000001 00000000 00 00 00 00 ", // prefetch, limit, asynchronous, selector, client, name
        "00 00 00 00 00 00 00 00 00 00", // flags, priority, path, predicate, flags, consumer path
    );
    let length = format!("{:08x}", info.replace(' ', "").len() / 2);
    let parts = "05 0000000000000102 0000000000000008 01 00000001 63 00000001 6e";
    check(&durable, &[parts, &length, info]);
    let scheduler = OwnerRecord::Scheduler { id: "s".to_owned() };
    let scheduler = record(|writer, out| writer.owner(out, OWNER, 8, &scheduler));
    check(&scheduler, &["05 0000000000000102 0000000000000008 02 00000001 73"]);
    let gone = record(|writer, out| writer.owner_gone(out, OWNER));
    check(&gone, &["06 0000000000000102"]);
    let sequence = record(|writer, out| writer.sequence(out, OWNER, 77));
    check(&sequence, &["0b 0000000000000102 000000000000004d"]);
    let heard = record(|writer, out| writer.heard(out, &("c".into(), 1, 2), 3));
    check(&heard, &["0c 00000001 63 0000000000000001 0000000000000002 0000000000000003"]);
}

#[test]
fn branches() {
    let xid = XaTransactionId {
        format_id: 1,
        global_transaction_id: Some(bytes::Bytes::from_static(b"g")),
        branch_qualifier: None,
    };
    let said = "0000000c 70 00000001 01 00000001 67 00";
    let branch = Branch {
        xid: xid.clone(),
        sends: vec![std::sync::Arc::new(message())],
        acks: vec![(OWNER, Key::new(0, 3))],
    };
    let length = format!("{:08x}", MESSAGE.replace(' ', "").len() / 2);
    let prepared = record(|writer, out| writer.prepared(out, &branch));
    let acks = "0000000000000102 0000000000000003";
    check(&prepared, &["07", said, "00000001", &length, MESSAGE, acks]);
    check(&record(|writer, out| writer.outcome(out, &xid)), &["08", said]);
}

#[test]
fn snapshots() {
    let mut audit = Audit::new(64, 2048);
    audit.mark(&message());
    let window = "0000000000000000 00000001 0000000000000008";
    let producer = "00000001 63 0000000000000001 0000000000000002";
    let audit = record(|writer, out| writer.audit(out, &audit));
    check(&audit, &["09 00000001 00000800", producer, window]);
    let counters = Counters { next_owner: 6, broker_sequence: 7 };
    let counters = record(|writer, out| writer.counters(out, counters));
    check(&counters, &["0a 0000000000000006 0000000000000007"]);
}

#[test]
fn a_batch_and_a_segment() {
    let mut bytes = BytesMut::zeroed(BATCH_HEAD);
    RecordWriter::new().owner_gone(&mut bytes, OWNER).unwrap();
    let spot = Spot { salt: 0x5a17, segment: 2, offset: 0x50 };
    let head =
        BatchHead { length: 0, epoch: 3, sequence: 4, durable: 2, chain: 0xc4a1, records: 1 };
    let chain = head.seal(&mut bytes, spot);
    check(
        &hex(&bytes),
        &[
            "4f574231 00000048 0000000000000003 0000000000000004 0000000000000002 ",
            "000000000000c4a1 00000001 e92097be ",
            "00000011 e429f9c4 06 0000000000000102 00000000000000",
        ],
    );
    assert_eq!(chain, 0x8de1_40c7_b88d_42da);
    let view = BatchView::parse(&bytes, 3, spot).unwrap();
    assert_eq!((view.chain, view.records().count()), (chain, 1));
    let record = view.records().next().unwrap();
    let place = Spot { offset: record.offset, ..spot };
    assert!(RecordView::parse(&bytes[BATCH_HEAD..], place).is_some());
    for other in
        [Spot { offset: 8, ..place }, Spot { segment: 1, ..place }, Spot { salt: 1, ..place }]
    {
        assert!(RecordView::parse(&bytes[BATCH_HEAD..], other).is_none(), "{other:?}");
    }
    assert!(BatchView::parse(&bytes, 4, spot).is_none());

    let seal = |epoch| Seal { epoch, segment: 1, end: 0x60, chain: 0xc4a1, sequence: 3 };
    let name = SegmentName { number: 2, epoch: 3 };
    let head = SegmentHead {
        name,
        salt: 0x5a17,
        before: seal(2),
        allocated: 0x1000,
        seals: vec![seal(2)],
    };
    let mut bytes = BytesMut::new();
    head.put(&mut bytes);
    let said = "0000000000000002 00000001 00000060 000000000000c4a1 0000000000000003";
    check(
        &hex(&bytes),
        &[
            "4f574a524e4c0d0a 00000001 00000070 0000000000000003 0000000000005a17 00000002 00000001",
            said,
            "00001000 4ac8afc6",
            said,
        ],
    );
    assert!(matches!(SegmentHead::parse(&bytes, name), HeadRead::Valid(read, 112) if read == head));
    assert_eq!(name.log(), "000003-00000002.log");
}
