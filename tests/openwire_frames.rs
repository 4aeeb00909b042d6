//! Frames by hand: what each byte is, and what the codec does at the edges of the protocol.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use openwired::openwire::fields::Structure;
use openwired::openwire::{
    Command, ConnectionId, ConnectionInfo, ConsumerId, Decoder, Delivery, Destination, Encoder,
    ExceptionResponse, KeepAliveInfo, LocalTransactionId, Message, MessageAck, MessageClass,
    MessageDispatch, MessageId, ProducerAck, ProducerId, RemoveInfo, SessionId, SessionInfo, Text,
    Throwable, TransactionId, TransactionInfo, WireError, WireFormat, ack_type,
};

#[path = "support/vectors.rs"]
mod vectors;

use vectors::to_hex;

fn tight(version: u8) -> WireFormat {
    WireFormat { tight: true, ..loose(version) }
}

fn loose(version: u8) -> WireFormat {
    WireFormat { version, max_frame_size: 0, ..WireFormat::HANDSHAKE }
}

fn cached(format: WireFormat) -> WireFormat {
    WireFormat { cache_slots: Some(1024), ..format }
}

fn frame(format: &WireFormat, structure: &impl Structure) -> Bytes {
    let mut out = BytesMut::new();
    Encoder::new(format).encode(structure, &mut out).unwrap();
    out.freeze()
}

fn bytes(labelled: &str) -> Vec<u8> {
    let byte = |pair: &str| u8::from_str_radix(pair, 16).unwrap();
    labelled.split_whitespace().map(byte).collect()
}

/// Both directions: the structure is written so, and these bytes are read so.
fn check(format: &WireFormat, command: impl Into<Command>, labelled: &str) {
    let command = command.into();
    let expected = bytes(labelled);
    assert_eq!(to_hex(&frame(format, &command)), to_hex(&expected));
    let payload = Bytes::from(expected).slice(4..);
    assert_eq!(Decoder::new(format).decode(payload), Ok(Some(command)));
}

#[test]
fn a_keep_alive_is_the_shortest_command() {
    let command = KeepAliveInfo { command_id: 5, response_required: false };
    check(
        &tight(12),
        command,
        concat!(
            "00 00 00 07 ", // size
            "0a ",          // KeepAliveInfo
            "01 00 ",       // one byte of flags: no response required
            "00 00 00 05 ", // command id
        ),
    );
}

#[test]
fn a_tight_message_id_spends_flags_instead_of_bytes() {
    let producer = ProducerId::new("ID:1", 0, 1);
    let id = MessageId { broker_sequence_id: 0x10000, ..MessageId::new(Arc::new(producer), 5) };
    check(
        &tight(10),
        id,
        concat!(
            "00 00 00 13 ", // size
            "6e ",          // MessageId
            "02 2e 06 ",    // two bytes of flags, lowest first:
            //                         0 no text view, 1 a producer id, 11 its name is there and
            //                         ASCII, 01 value in two bytes, 00 no session, 01 sequence in
            //                         two bytes, 10 broker sequence in four
            "7b 00 04 49 44 3a 31 ", // ProducerId, "ID:1"
            "00 01 ",                // value; session id 0 takes no bytes
            "00 05 00 01 00 00",     // producer sequence, broker sequence
        ),
    );
}

#[test]
fn a_loose_acknowledgement_says_everything_in_place() {
    let id = MessageId::new(Arc::new(ProducerId::new("c", 1, 2)), 3);
    let ack = MessageAck {
        command_id: 7,
        destination: Some(Arc::new(Destination::queue("Q"))),
        consumer_id: Some(Arc::new(ConsumerId::new("c", 1, 9))),
        ack_type: ack_type::STANDARD,
        last_message_id: Some(id),
        message_count: 1,
        ..MessageAck::default()
    };
    check(
        &loose(6),
        ack,
        concat!(
            "00 00 00 51 ",                                     // size
            "16 00 00 00 07 00 ", // MessageAck 7, no response required
            "01 64 01 00 01 51 ", // a queue named "Q"
            "00 ",                // no transaction
            "01 7a 01 00 01 63 ", // a ConsumerId of connection "c",
            "00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 09 ", // session 1, value 9
            "02 ",                // STANDARD
            "00 ",                // no first message id
            "01 6e ",             // a MessageId, before v10 without text
            "01 7b 01 00 01 63 ", // a ProducerId of connection "c",
            "00 00 00 00 00 00 00 02 00 00 00 00 00 00 00 01 ", // value 2, session 1
            "00 00 00 00 00 00 00 03 00 00 00 00 00 00 00 00 ", // sequence 3, not numbered by a broker
            "00 00 00 01 ",                                     // one message; poison causes are v7
        ),
    );
}

#[test]
fn a_cached_transaction_is_numbered_after_its_connection_when_tight_and_before_when_loose() {
    let connection_id = Some(Arc::new(ConnectionId::new("c")));
    let local = LocalTransactionId { value: 1, connection_id };
    let begin = TransactionInfo {
        transaction_id: Some(Arc::new(TransactionId::Local(local))),
        ..TransactionInfo::default()
    };
    check(
        &cached(tight(12)),
        begin.clone(),
        concat!(
            "00 00 00 16 ", // size
            "07 02 da 07 ", // TransactionInfo; flags: no response, 1 new, 0 absent, 1 new,
            //                  1 present, 01 value in two bytes, 1 new, 1 present, 1 and ASCII
            "00 00 00 00 ",       // command id
            "00 00 ",             // slot 0: no connection
            "00 02 6f 00 01 ",    // slot 2: a LocalTransactionId, value 1
            "00 01 78 00 01 63 ", // slot 1: the ConnectionId "c"
            "00 ",                // BEGIN
        ),
    );
    check(
        &cached(loose(12)),
        begin,
        concat!(
            "00 00 00 21 ",                // size
            "07 00 00 00 00 00 ",          // TransactionInfo
            "01 00 00 00 ",                // new in slot 0: no connection
            "01 00 01 01 6f ",             // new in slot 1: a LocalTransactionId
            "00 00 00 00 00 00 00 01 ",    // value 1
            "01 00 02 01 78 01 00 01 63 ", // new in slot 2: the ConnectionId "c"
            "00 ",                         // BEGIN
        ),
    );
}

#[test]
fn what_the_cache_knows_comes_out_shared() {
    for format in [cached(tight(12)), cached(loose(12))] {
        let (mut encoder, mut decoder) = (Encoder::new(&format), Decoder::new(&format));
        let mut read = |command: Command| {
            let mut out = BytesMut::new();
            encoder.encode(&command, &mut out).unwrap();
            let read = decoder.decode(out.freeze().slice(4..)).unwrap().unwrap();
            assert_eq!(read, command);
            read
        };
        let id = Arc::new(SessionId::new("ID:c", 1));
        let session = SessionInfo { session_id: Some(Arc::clone(&id)), ..Default::default() };
        let (first, again) = (read(session.clone().into()), read(session.into()));
        let (Command::SessionInfo(first), Command::SessionInfo(again)) = (first, again) else {
            panic!("sessions went in");
        };
        let ids = [first.session_id.clone().unwrap(), again.session_id.clone().unwrap()];
        assert!(Arc::ptr_eq(&ids[0], &ids[1]));
        // A field for any structure meets the same value.
        let object_id = Some(Arc::new(Command::SessionId(id)));
        let remove = read(RemoveInfo { object_id, ..RemoveInfo::default() }.into());
        let Command::RemoveInfo(remove) = remove else { panic!("a removal went in") };
        let Some(Command::SessionId(id)) = remove.object_id.as_deref() else {
            panic!("it names a session");
        };
        assert!(Arc::ptr_eq(id, &ids[0]));
    }
}

fn message() -> Message {
    Message {
        class: MessageClass::Text,
        command_id: 3,
        response_required: true,
        producer_id: Some(Arc::new(ProducerId::new("ID:p", 1, 1))),
        destination: Some(Arc::new(Destination::queue("Q"))),
        message_id: Some(MessageId::new(Arc::new(ProducerId::new("ID:p", 1, 1)), 4)),
        content: Some(Bytes::from(vec![b'x'; 5000])),
        marshalled_properties: Some(Bytes::from(vec![b'y'; 6000])),
        ..Message::default()
    }
}

#[test]
fn byte_arrays_stay_slices_of_the_payload() {
    for format in [tight(12), loose(12)] {
        let payload = frame(&format, &message()).slice(4..);
        let range = payload.as_ptr_range();
        let read = Decoder::new(&format).decode(payload.clone()).unwrap();
        let Some(Command::Message(read)) = read else { panic!("a message went in") };
        assert_eq!(*read, message());
        for field in [&read.content, &read.marshalled_properties] {
            assert!(range.contains(&field.as_ref().unwrap().as_ptr()));
        }
    }
}

#[test]
fn a_shared_message_is_told_to_each_consumer_with_its_own_counters() {
    for version in 1..=12 {
        for format in [tight(version), loose(version), cached(tight(version))] {
            let dispatch = |message: Message| MessageDispatch {
                consumer_id: Some(Arc::new(ConsumerId::new("ID:c", 1, 1))),
                destination: message.destination.clone(),
                message: Some(Arc::new(message)),
                redelivery_counter: 2,
                ..MessageDispatch::default()
            };
            let told = Message {
                redelivery_counter: 2,
                broker_out_time: 1234,
                jmsx_group_first_for_consumer: true,
                ..message()
            };
            let delivery = Delivery { broker_out_time: 1234, jmsx_group_first_for_consumer: true };
            let mut out = BytesMut::new();
            let shared = dispatch(message());
            Encoder::new(&format).encode_dispatch(&shared, delivery, &mut out).unwrap();
            assert_eq!(out.freeze(), frame(&format, &dispatch(told)));
        }
    }
}

#[test]
fn a_dispatch_without_message_is_the_end_of_a_browse() {
    let format = tight(12);
    let end = MessageDispatch::default();
    let mut out = BytesMut::new();
    Encoder::new(&format).encode_dispatch(&end, Delivery::default(), &mut out).unwrap();
    assert_eq!(out.freeze(), frame(&format, &end));
}

fn told_message(version: u8, message: Option<&str>) -> Option<Text> {
    let exception = Throwable {
        class_name: Some("java.io.IOException".into()),
        message: message.map(Into::into),
        ..Throwable::default()
    };
    let response = ExceptionResponse { exception: Some(exception), ..Default::default() };
    let format = tight(version);
    let read = Decoder::new(&format).decode(frame(&format, &response).slice(4..)).unwrap();
    let Some(Command::ExceptionResponse(read)) = read else { panic!("an exception went in") };
    read.exception.as_ref().unwrap().message.clone()
}

#[test]
fn versions_1_and_10_cut_the_message_of_an_exception_and_always_have_one() {
    let (fits, long) = ("é".repeat(1024), "é".repeat(1025));
    for version in 1..=12 {
        let short = matches!(version, 1 | 10);
        assert_eq!(told_message(version, Some(&fits)), Some(fits.as_str().into()));
        let cut = "é".repeat(1021) + "...";
        let expected = if short { &cut } else { &long };
        assert_eq!(told_message(version, Some(&long)), Some(expected.as_str().into()));
        let substitute = short.then(|| "java.io.IOException".into());
        assert_eq!(told_message(version, None), substitute);
    }
}

#[test]
fn a_frame_that_cannot_be_written_leaves_everything_as_it_was() {
    let session = |value| SessionInfo {
        session_id: Some(Arc::new(SessionId::new("ID:c", value))),
        ..SessionInfo::default()
    };
    let sayable = Message { destination: Some(Arc::new(Destination::topic("new"))), ..message() };
    let correlation_id = Some("x".repeat(70_000).into());
    let unsayable = Message { correlation_id, ..sayable.clone() };
    for format in [cached(tight(12)), cached(loose(12))] {
        let (mut encoder, mut decoder) = (Encoder::new(&format), Decoder::new(&format));
        let mut out = BytesMut::new();
        encoder.encode(&session(1), &mut out).unwrap();
        let before = out.clone();
        let error = encoder.encode(&unsayable, &mut out).unwrap_err();
        assert!(matches!(error, WireError::TooLong { length: 70_000, .. }), "{error}");
        assert_eq!(out, before);
        encoder.encode(&session(2), &mut out).unwrap();
        encoder.encode(&session(1), &mut out).unwrap();
        encoder.encode(&sayable, &mut out).unwrap();
        let sessions = [1, 2, 1].map(|value| session(value).into());
        for command in sessions.into_iter().chain([Command::from(sayable.clone())]) {
            let size = u32::from_be_bytes(out.split_to(4)[..].try_into().unwrap());
            let payload = out.split_to(size as usize).freeze();
            assert_eq!(decoder.decode(payload), Ok(Some(command)));
        }
    }
}

#[test]
fn a_string_is_as_long_as_its_encoding_can_say() {
    let session = |length: usize| SessionId::new("x".repeat(length), 1);
    let encode = |format: &WireFormat, length| {
        Encoder::new(format).encode(&session(length), &mut BytesMut::new())
    };
    assert_eq!(encode(&tight(12), 32766), Ok(()));
    assert!(matches!(encode(&tight(12), 32767), Err(WireError::TooLong { limit: 32766, .. })));
    assert_eq!(encode(&loose(12), 65535), Ok(()));
    assert!(matches!(encode(&loose(12), 65536), Err(WireError::TooLong { limit: 65535, .. })));
}

#[test]
fn what_a_version_does_not_have_is_neither_written_nor_read() {
    let ack = frame(&tight(3), &ProducerAck::default());
    let unknown = WireError::UnknownType { code: 19, version: 2 };
    assert_eq!(Decoder::new(&tight(2)).decode(ack.slice(4..)), Err(unknown));
    let write =
        |structure: &Command| Encoder::new(&loose(2)).encode(structure, &mut BytesMut::new());
    let blob = Message { class: MessageClass::Blob, ..Message::default() };
    let dispatch = MessageDispatch { message: Some(Arc::new(blob.clone())), ..Default::default() };
    let unknown = |code| Err(WireError::UnknownType { code, version: 2 });
    assert_eq!(write(&ProducerAck::default().into()), unknown(19));
    assert_eq!(write(&blob.into()), unknown(29));
    assert_eq!(write(&dispatch.into()), unknown(29));
}

#[test]
fn a_frame_longer_than_agreed_is_refused_in_activemqs_words() {
    let big = Message { content: Some(vec![0; 200_000].into()), ..Message::default() };
    for format in [tight(12), loose(12)] {
        let format = WireFormat { max_frame_size: 100_000, ..format };
        let mut out = BytesMut::new();
        let error = Encoder::new(&format).encode(&big, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "Frame size of 195 KB larger than max allowed 97 KB");
        assert!(out.is_empty());
        // Without size, the frame is refused as soon as its content says how long it is.
        let open = WireFormat { size_prefix_disabled: true, max_frame_size: 0, ..format.clone() };
        let begun = frame(&open, &big).slice(..200);
        let format = WireFormat { size_prefix_disabled: true, ..format };
        let error = Decoder::new(&format).decode_prefix(&begun).unwrap_err();
        assert_eq!(error.to_string(), "Frame size of 195 KB larger than max allowed 97 KB");
    }
}

#[test]
fn bytes_above_127_under_the_ascii_flag_are_latin_1() {
    let payload = bytes("78 01 03 00 02 e9 41");
    let read = Decoder::new(&tight(12)).decode(payload.into());
    assert_eq!(read, Ok(Some(ConnectionId::new("éA").into())));
}

#[test]
fn flags_that_no_field_takes_are_refused() {
    let decode = |payload: &str| Decoder::new(&tight(12)).decode(bytes(payload).into());
    assert!(decode("0a 01 00 00 00 00 05").is_ok());
    let extra = |extra| Err(WireError::TrailingFlags { extra });
    assert_eq!(decode("0a 02 00 00 00 00 00 05"), extra(1));
    assert_eq!(decode("0a 01 02 00 00 00 05"), extra(0));
    assert_eq!(decode("0a 00 00 00 00 05"), Err(WireError::MissingFlag { length: 0 }));
}

#[test]
fn the_null_command_is_nothing_and_has_nothing_behind_it() {
    let mut out = BytesMut::new();
    Encoder::new(&tight(12)).encode_null(&mut out);
    assert_eq!(out, &[0, 0, 0, 1, 0][..]);
    let mut decoder = Decoder::new(&tight(12));
    assert_eq!(decoder.decode(Bytes::from_static(&[0])), Ok(None));
    let trailing = Err(WireError::TrailingBytes { extra: 1 });
    assert_eq!(decoder.decode(Bytes::from_static(&[0, 0])), trailing);
    let missing = Err(WireError::Truncated { offset: 0, missing: 1 });
    assert_eq!(decoder.decode(Bytes::new()), missing);
}

#[test]
fn a_slot_that_was_never_filled_is_absent_and_one_of_another_kind_is_refused() {
    let format = cached(loose(12));
    let mut decoder = Decoder::new(&format);
    // SessionInfo 1 with what slot 0 holds.
    let session = Bytes::from(bytes("04 00 00 00 01 00 00 00 00"));
    let absent = SessionInfo { command_id: 1, ..SessionInfo::default() };
    assert_eq!(decoder.decode(session.clone()), Ok(Some(absent.into())));
    // A ConnectionInfo puts a ConnectionId there.
    let info = ConnectionInfo {
        connection_id: Some(Arc::new(ConnectionId::new("c"))),
        ..ConnectionInfo::default()
    };
    assert!(decoder.decode(frame(&format, &info).slice(4..)).is_ok());
    let other = Err(WireError::CacheKind { index: 0, expected: "SessionId" });
    assert_eq!(decoder.decode(session), other);
}

#[test]
fn a_frame_that_is_read_again_when_more_of_it_came_finds_the_cache_as_it_was() {
    let format = WireFormat { size_prefix_disabled: true, ..cached(loose(12)) };
    let mut decoder = Decoder::new(&format);
    let connection_id = Some(Arc::new(ConnectionId::new("c")));
    let info = ConnectionInfo { connection_id: connection_id.clone(), ..Default::default() };
    assert!(decoder.decode_prefix(&frame(&format, &info)).unwrap().is_some());
    let payload = Bytes::from(bytes(concat!(
        "07 00 00 00 02 00 ", // TransactionInfo 2
        "00 00 00 ",          // the ConnectionId in slot 0
        "01 00 00 00 ",       // no transaction, which takes slot 0 from now on
        "05 ",                // RECOVER
    )));
    for cut in 0..payload.len() {
        assert_eq!(decoder.decode_prefix(&payload.slice(..cut)), Ok(None), "cut at byte {cut}");
    }
    let recover =
        TransactionInfo { command_id: 2, connection_id, kind: 5, ..TransactionInfo::default() };
    let whole = Ok(Some((Some(recover.into()), payload.len())));
    assert_eq!(decoder.decode_prefix(&payload), whole);
}
