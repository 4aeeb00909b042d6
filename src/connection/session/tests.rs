//! The register, without a broker: a logical connection is just its name.

use super::*;

const ID: &str = "ID:h-1-2-3:1";

fn register(limits: Limits) -> Register<&'static str> {
    let mut register = Register::new(limits);
    register.add_connection(Arc::new(connection(ID)), "client");
    register
}

fn connection(id: &str) -> ConnectionId {
    ConnectionId { value: Some(id.into()) }
}

fn session(id: &str, value: i64) -> SessionId {
    SessionId { connection_id: Some(id.into()), value }
}

fn consumer(session: i64, value: i64) -> ConsumerInfo {
    consumer_of(&Destination::queue("Q"), session, value)
}

fn consumer_of(destination: &Destination, session: i64, value: i64) -> ConsumerInfo {
    ConsumerInfo {
        consumer_id: Some(Arc::new(ConsumerId::new(ID, session, value))),
        destination: Some(Arc::new(destination.clone())),
        ..ConsumerInfo::default()
    }
}

fn producer(session: i64, value: i64) -> ProducerInfo {
    let id = Arc::new(ProducerId::new(ID, session, value));
    ProducerInfo { producer_id: Some(id), ..ProducerInfo::default() }
}

/// Opens a consumer as a connection does; says whether there was anything to open.
fn open(register: &mut Register<&'static str>, info: &ConsumerInfo) -> Result<bool, String> {
    let new = register.check_consumer(info, "b").map_err(|refusal| refusal.to_string())?.is_some();
    if new {
        register.add_consumer(info.consumer_id.as_ref().unwrap());
    }
    Ok(new)
}

fn open_producer(
    register: &mut Register<&'static str>,
    info: &ProducerInfo,
) -> Result<bool, String> {
    let new = register.check_producer(info).map_err(|refusal| refusal.to_string())?.is_some();
    if new {
        register.add_producer(info.producer_id.as_ref().unwrap(), Producer { window: 0 });
    }
    Ok(new)
}

#[test]
fn the_session_minus_one_needs_no_announcement() {
    let mut register = register(Limits::default());
    assert_eq!(open(&mut register, &consumer(-1, 1)), Ok(true));
    register.add_session(&session(ID, -1)).unwrap();
    assert_eq!(open(&mut register, &consumer(-1, 1)), Ok(false), "announced again, still there");
}

#[test]
fn what_is_added_again_is_there_already() {
    let mut register = register(Limits::default());
    register.add_session(&session(ID, 1)).unwrap();
    assert_eq!(open(&mut register, &consumer(1, 1)), Ok(true));
    assert_eq!(open_producer(&mut register, &producer(1, 1)), Ok(true));
    register.add_session(&session(ID, 1)).unwrap();
    assert_eq!(open(&mut register, &consumer(1, 1)), Ok(false));
    assert_eq!(open_producer(&mut register, &producer(1, 1)), Ok(false));
}

#[test]
fn unknown_parents_are_refused_in_the_words_of_activemq() {
    let mut register = register(Limits::default());
    let text = "b Cannot add a consumer to a session that had not been registered: ID:h-1-2-3:1:7";
    assert_eq!(open(&mut register, &consumer(7, 1)).unwrap_err(), text);
    let text = "Cannot add a producer to a session that had not been registered: ID:h-1-2-3:1:7";
    assert_eq!(open_producer(&mut register, &producer(7, 1)).unwrap_err(), text);
    let refused = register.remove_consumer(&ConsumerId::new(ID, -1, 9)).unwrap_err();
    let text = "Cannot remove a consumer that had not been registered: ID:h-1-2-3:1:-1:9";
    assert_eq!(refused, Refusal::IllegalState(text.to_owned()));
    let refused = register.remove_session(&session(ID, 9)).unwrap_err();
    let text = "Cannot remove session that had not been registered: ID:h-1-2-3:1:9";
    assert_eq!(refused, Refusal::IllegalState(text.to_owned()));
    let refused = register.remove_producer(&ProducerId::new(ID, -1, 9)).unwrap_err();
    let text = "Cannot remove a producer that had not been registered: ID:h-1-2-3:1:-1:9";
    assert_eq!(refused, Refusal::IllegalState(text.to_owned()));
}

#[test]
fn without_a_connection_nothing_can_be_opened_but_a_session_that_then_is_not_there() {
    let mut register: Register<&'static str> = Register::new(Limits::default());
    register.add_session(&session(ID, 1)).unwrap();
    let text = "Cannot add a consumer to a connection that had not been registered: ID:h-1-2-3:1";
    assert_eq!(open(&mut register, &consumer(1, 1)).unwrap_err(), text);
    let text =
        "Cannot lookup a producer from a connection that had not been registered: ID:h-1-2-3:1";
    let refused = register.producer(Some(&Arc::new(ProducerId::new(ID, 1, 1)))).unwrap_err();
    assert_eq!(refused, Refusal::IllegalState(text.to_owned()));
}

#[test]
fn a_session_takes_its_consumers_and_producers_along() {
    let mut register = register(Limits::default());
    register.add_session(&session(ID, 1)).unwrap();
    open(&mut register, &consumer(1, 1)).unwrap();
    open(&mut register, &consumer(-1, 1)).unwrap();
    open_producer(&mut register, &producer(1, 4)).unwrap();
    let (client, removed) = register.remove_session(&session(ID, 1)).unwrap();
    assert_eq!(*client, "client");
    assert_eq!(removed.consumers, [Arc::new(ConsumerId::new(ID, 1, 1))]);
    assert_eq!(removed.producers, [Arc::new(ProducerId::new(ID, 1, 4))]);
    assert_eq!(register.consumer(&ConsumerId::new(ID, -1, 1)), Some(&"client"));
    assert_eq!(register.consumer(&ConsumerId::new(ID, 1, 1)), None);
}

#[test]
fn several_connections_on_one_socket_are_told_apart() {
    let mut register = register(Limits::default());
    register.add_connection(Arc::new(connection("ID:other")), "other");
    assert_eq!(register.client("it", Some(&"ID:other".into())), Ok(&"other"));
    assert_eq!(register.client("it", Some(&ID.into())), Ok(&"client"));
    assert!(register.client("it", Some(&"ID:third".into())).is_err());
    assert_eq!(register.remove_connection(&connection("ID:other")), Some("other"));
    assert_eq!(register.client("it", Some(&"ID:third".into())), Ok(&"client"), "the only one");
    assert_eq!(register.remove_connection(&connection("ID:third")), None);
}

#[test]
fn a_configured_limit_counts_advisory_consumers_but_does_not_refuse_them() {
    let mut register = register(Limits { consumers: Some(2), producers: Some(1) });
    let advisory = Destination::topic("ActiveMQ.Advisory.TempQueue,ActiveMQ.Advisory.TempTopic");
    assert_eq!(open(&mut register, &consumer_of(&advisory, -1, 1)), Ok(true));
    assert_eq!(open(&mut register, &consumer(-1, 2)), Ok(true));
    let text = "Can't add consumer on connection ID:h-1-2-3:1: at maximum limit: 2";
    assert_eq!(open(&mut register, &consumer(-1, 3)).unwrap_err(), text);
    assert_eq!(open(&mut register, &consumer_of(&advisory, -1, 4)), Ok(true));
    assert_eq!(open_producer(&mut register, &producer(-1, 1)), Ok(true));
    let text = "Can't add producer on connection ID:h-1-2-3:1: at maximum limit: 1";
    assert_eq!(open_producer(&mut register, &producer(-1, 2)).unwrap_err(), text);
}

#[test]
fn nothing_grows_without_a_bound() {
    let mut register = register(Limits::default());
    for value in 1..=SESSIONS_MAX as i64 {
        register.add_session(&session(ID, value)).unwrap();
    }
    assert!(register.add_session(&session(ID, i64::MAX)).is_err());
    let advisory = Destination::topic("ActiveMQ.Advisory.>");
    for value in 0..CONSUMERS_MAX as i64 {
        open(&mut register, &consumer_of(&advisory, -1, value)).unwrap();
    }
    assert!(open(&mut register, &consumer_of(&advisory, -1, i64::MAX)).is_err());
    for number in 1..CONNECTIONS_MAX {
        register.add_connection(Arc::new(connection(&number.to_string())), "more");
    }
    assert!(register.check_connections().is_err());
}
