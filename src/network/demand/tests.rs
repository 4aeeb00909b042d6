//! Scripts of news from a peer, and what they make of the subscriptions here.

use super::*;
use crate::openwire::{DestinationKind, RemoveInfo};

/// Plays news one after another: `+Q` and `+topic://T` for a consumer, `-n` for the end of the n-th
/// consumer of the script, `+d:T` for a durable subscriber of topic T, `~d` for the end of its
/// subscription, `temp` and `untemp`. Says what follows.
fn play(options: NetworkOptions, script: &str) -> String {
    let mut demand = demand(options);
    let mut out = Vec::new();
    demand.start(Vec::new(), &mut out);
    let mut came = 0;
    for news in script.split_whitespace() {
        let (act, rest) = news.split_at(1);
        let command: Command = match act {
            "+" => {
                came += 1;
                consumer(came, rest).into()
            }
            "-" => RemoveInfo {
                object_id: Some(Arc::new(Command::ConsumerId(Arc::new(id(rest.parse().unwrap()))))),
                ..RemoveInfo::default()
            }
            .into(),
            "~" => RemoveSubscriptionInfo {
                client_id: Some("c".into()),
                subscription_name: Some(rest.into()),
                ..RemoveSubscriptionInfo::default()
            }
            .into(),
            _ => DestinationInfo {
                destination: Some(Arc::new(Destination::new(DestinationKind::TempQueue, "ID:c:1"))),
                operation_type: i8::from(news == "untemp"),
                ..DestinationInfo::default()
            }
            .into(),
        };
        demand.hear(&command, &mut out);
    }
    shown(&out)
}

fn demand(options: NetworkOptions) -> Demand {
    let broker = |name: &str| Arc::new(BrokerId::new(name));
    let ends = Ends {
        local_id: broker("A"),
        local_name: "a".to_owned(),
        remote_id: broker("B"),
        remote_name: "b".to_owned(),
    };
    Demand::new(Arc::new(options), ends, "L".into())
}

fn id(number: i64) -> ConsumerId {
    ConsumerId::new("ID:c", 1, number)
}

fn consumer(number: i64, to: &str) -> ConsumerInfo {
    let (durable, to) = match to.split_once(':') {
        Some((name, topic)) if !topic.starts_with("//") => (Some(name), format!("topic://{topic}")),
        _ => (None, to.to_owned()),
    };
    ConsumerInfo {
        consumer_id: Some(Arc::new(id(number))),
        destination: Some(Arc::new(Destination::parse(&to, DestinationKind::Queue))),
        client_id: durable.map(|_| "c".into()),
        subscription_name: durable.map(Into::into),
        ..ConsumerInfo::default()
    }
}

fn shown(changes: &[Change]) -> String {
    let shown = changes.iter().map(|change| match change {
        Change::Subscribe(info) => {
            let durable = info.subscription_name.as_ref().map(|name| format!(" as {name}"));
            let (id, to) = (info.consumer_id.as_ref().unwrap(), info.destination.as_ref().unwrap());
            format!("{}<-{to}{}", id.value, durable.unwrap_or_default())
        }
        Change::Unsubscribe(id) => format!("{} ends", id.value),
        Change::EndDurable(name) => format!("{name} ends"),
        Change::Mirror(destination, path) => format!("{destination} over {}", path.len()),
        Change::Unmirror(destination) => format!("{destination} goes"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn plain() -> NetworkOptions {
    NetworkOptions::default()
}

#[test]
fn all_consumers_of_a_destination_are_one_subscription() {
    assert_eq!(play(plain(), "+Q +Q +R"), "1<-queue://Q, 2<-queue://R");
    assert_eq!(play(plain(), "+Q +Q -1"), "1<-queue://Q");
    assert_eq!(play(plain(), "+Q +Q -1 -2"), "1<-queue://Q, 1 ends");
    assert_eq!(play(plain(), "+Q -1 +Q"), "1<-queue://Q, 1 ends, 2<-queue://Q");
    assert_eq!(play(plain(), "+A.> +A.B -1"), "1<-queue://A.>");
    assert_eq!(play(plain(), "-7"), "", "unknown ids are ignored");
}

#[test]
fn a_consumer_of_several_destinations_is_one_of_each() {
    assert_eq!(play(plain(), "+Q,R +R -1"), "1<-queue://Q, 2<-queue://R, 1 ends");
}

#[test]
fn without_conduit_each_consumer_has_its_own() {
    let options = NetworkOptions { conduit_subscriptions: false, ..plain() };
    assert_eq!(play(options, "+Q +Q -1"), "1<-queue://Q, 2<-queue://Q, 1 ends");
}

#[test]
fn a_durable_subscription_there_is_one_here_that_outlives_its_consumer() {
    assert_eq!(play(plain(), "+d:T -1"), "1<-topic://T as NC-DS_a_T");
    let ended = "1<-topic://T as NC-DS_a_T, 1 ends, NC-DS_a_T ends";
    assert_eq!(play(plain(), "+d:T -1 ~d"), ended);
    assert_eq!(play(plain(), "+d:T +e:T ~d"), "1<-topic://T as NC-DS_a_T");
    let dynamic = NetworkOptions { dynamic_only: true, ..plain() };
    assert_eq!(play(dynamic, "+d:T -1"), "1<-topic://T as NC-DS_a_T, 1 ends");
}

#[test]
fn a_durable_subscription_takes_the_place_of_one_that_is_not_and_leaves_one() {
    let both = "1<-topic://T, 2<-topic://T as NC-DS_a_T, 1 ends";
    assert_eq!(play(plain(), "+topic://T +d:T"), both);
    let left = format!("{both}, 2 ends, NC-DS_a_T ends, 3<-topic://T");
    assert_eq!(play(plain(), "+topic://T +d:T -2 ~d"), left);
    assert_eq!(play(plain(), "+d:T +topic://T -2"), "1<-topic://T as NC-DS_a_T");
}

#[test]
fn a_temporary_destination_is_there_as_long_as_its_client_has_it() {
    let mirrored = "temp-queue://ID:c:1 over 1, 1<-temp-queue://ID:c:1";
    assert_eq!(play(plain(), "temp temp"), mirrored);
    let gone = format!("{mirrored}, 1 ends, temp-queue://ID:c:1 goes");
    assert_eq!(play(plain(), "temp +temp-queue://ID:c:1 -1 untemp"), gone);
    let without = NetworkOptions { bridge_temp_destinations: false, ..plain() };
    assert_eq!(play(without, "temp +temp-queue://ID:c:1"), "");
}

#[test]
fn what_is_configured_is_there_from_the_start_and_stays() {
    let options = NetworkOptions {
        statically_included_destinations: vec![
            Destination::queue("S"),
            Destination::topic("T?forceDurable=true"),
        ],
        ..plain()
    };
    let fixed = "1<-queue://S, 2<-topic://T as NC-DS_a_T";
    assert_eq!(play(options, "+S -1"), fixed);
    let mut demand = demand(plain());
    let mut out = Vec::new();
    let durables = vec![("NC-DS_a_T".to_owned(), Destination::topic("T"))];
    demand.start(durables.clone(), &mut out);
    assert_eq!(shown(&out), "1<-topic://T as NC-DS_a_T", "left behind by a bridge before");
    out.clear();
    demand.durables_told(&[Some(consumer(1, "d:T"))], durables, &mut out);
    assert_eq!(shown(&out), "");
    demand.hear(&Command::from(RemoveSubscriptionInfo::default()), &mut out);
    assert_eq!(shown(&out), "");
}

#[test]
fn durables_that_the_peer_does_not_name_are_ended() {
    let mut demand = demand(plain());
    let mut out = Vec::new();
    let durables = vec![("NC-DS_a_T".to_owned(), Destination::topic("T"))];
    demand.start(durables.clone(), &mut out);
    demand.durables_told(&[], durables, &mut out);
    assert_eq!(shown(&out), "1<-topic://T as NC-DS_a_T, 1 ends, NC-DS_a_T ends");
}

#[test]
fn consumers_that_are_far_or_ours_or_only_look_are_not_served() {
    let path = |ids: &[&str]| Some(ids.iter().map(|id| Some(BrokerId::new(*id))).collect());
    let mut demand = demand(NetworkOptions { consumer_ttl: Some(2), ..plain() });
    let mut out = Vec::new();
    for info in [
        ConsumerInfo { broker_path: path(&["C", "D"]), ..consumer(1, "Q") },
        ConsumerInfo { broker_path: path(&["A"]), ..consumer(2, "Q") },
        ConsumerInfo { browser: true, ..consumer(3, "Q") },
        consumer(4, "topic://ActiveMQ.Advisory.Queue"),
    ] {
        demand.hear(&info.into(), &mut out);
    }
    assert_eq!(shown(&out), "");
    demand.hear(&ConsumerInfo { broker_path: path(&["C"]), ..consumer(5, "Q") }.into(), &mut out);
    let [Change::Subscribe(info)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(info.broker_path, path(&["C", "B"]));
}

#[test]
fn farther_consumers_are_served_later_where_the_configuration_says_so() {
    let options =
        NetworkOptions { decrease_network_consumer_priority: true, consumer_ttl: None, ..plain() };
    let priority = |behind: usize| {
        let mut out = Vec::new();
        let broker_path = Some(vec![Some(BrokerId::new("C")); behind]);
        let info = ConsumerInfo { broker_path, ..consumer(1, "Q") };
        demand(options.clone()).hear(&info.into(), &mut out);
        let [Change::Subscribe(info)] = out.as_slice() else { panic!("{out:?}") };
        info.priority
    };
    assert_eq!([priority(0), priority(1), priority(2)], [-5, -8, -9]);
}

#[test]
fn a_subscription_that_was_refused_comes_again_as_another_consumer() {
    let mut demand = demand(plain());
    let mut out = Vec::new();
    demand.hear(&consumer(1, "Q").into(), &mut out);
    let renewed = demand.renew(&ConsumerId::new("L", 1, 1)).unwrap();
    assert_eq!(renewed.consumer_id.as_ref().unwrap().value, 2);
    assert_eq!(demand.renew(&ConsumerId::new("L", 1, 1)), None);
    out.clear();
    demand.hear(&consumer(2, "Q").into(), &mut out);
    assert_eq!(shown(&out), "");
}
