//! Throws arbitrary scripts at one queue and compares with a model of what must be true at any time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Send {
        group: Option<u8>,
        red: bool,
    },
    Join {
        who: usize,
        prefetch: i32,
        only_red: bool,
        exclusive: bool,
    },
    Leave {
        who: usize,
        last_delivered: i64,
    },
    /// The oldest so many that it holds.
    Ack {
        who: usize,
        count: usize,
    },
    /// The same in a transaction that commits or not.
    Transact {
        who: usize,
        count: usize,
        commit: bool,
    },
    Poison {
        who: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..NAMES.len();
    prop_oneof![
        4 => (proptest::option::weighted(0.3, 0_u8..3), any::<bool>())
            .prop_map(|(group, red)| Step::Send { group, red }),
        2 => (who(), 1..5, any::<bool>(), proptest::bool::weighted(0.1))
            .prop_map(|(who, prefetch, only_red, exclusive)| Step::Join { who, prefetch, only_red, exclusive }),
        1 => (who(), -2_i64..0).prop_map(|(who, last_delivered)| Step::Leave { who, last_delivered }),
        3 => (who(), 1_usize..4).prop_map(|(who, count)| Step::Ack { who, count }),
        1 => (who(), 1_usize..4, any::<bool>())
            .prop_map(|(who, count, commit)| Step::Transact { who, count, commit }),
        1 => who().prop_map(|who| Step::Poison { who }),
    ]
}

/// Who holds which message, and which are gone.
#[derive(Default)]
struct Model {
    sent: BTreeSet<i64>,
    gone: BTreeSet<i64>,
    dead: BTreeSet<i64>,
    /// By consumer: prefetch, whether it takes red ones only, what it holds in order.
    consumers: BTreeMap<usize, (i32, bool, Vec<i64>)>,
    red: BTreeSet<i64>,
}

impl Model {
    /// Takes note of what arrived, and checks that it may have.
    fn look(&mut self, bench: &mut Bench) {
        for who in self.consumers.keys().copied().collect::<Vec<_>>() {
            let before = bench.held.get(NAMES[who]).map_or(0, Vec::len);
            bench.got(NAMES[who]);
            let arrived: Vec<i64> = bench.held.get(NAMES[who]).map_or(Vec::new(), |held| {
                let number = |(message, _): &(Arc<Message>, i32)| {
                    message.message_id.as_ref().unwrap().producer_sequence_id
                };
                held[before..].iter().map(number).collect()
            });
            for number in arrived {
                assert!(self.sent.contains(&number) && !self.gone.contains(&number));
                let holder = self.consumers.values().find(|(_, _, held)| held.contains(&number));
                assert!(holder.is_none(), "message {number} is with two consumers");
                let (prefetch, only_red, held) = self.consumers.get_mut(&who).unwrap();
                assert!(!*only_red || self.red.contains(&number), "the selector let {number} past");
                held.push(number);
                assert!(held.len() <= usize::try_from(*prefetch).unwrap(), "beyond the prefetch");
            }
        }
    }

    fn held(&self, who: usize) -> usize {
        self.consumers.get(&who).map_or(0, |(_, _, held)| held.len())
    }

    fn take(&mut self, who: usize, count: usize) {
        if let Some((_, _, held)) = self.consumers.get_mut(&who) {
            self.gone.extend(held.drain(..count));
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut bench = Bench::new();
    let mut model = Model::default();
    let mut transactions = 0;
    for step in steps {
        match step {
            Step::Send { group, red } => {
                model.sent.insert(bench.sent);
                if red {
                    model.red.insert(bench.sent);
                }
                bench.send_with("Q", |message| {
                    message.group_id = group.map(|group| group.to_string().into());
                    message.kind = red.then(|| "red".into());
                });
            }
            Step::Join { who, prefetch, only_red, exclusive } => {
                if model.consumers.contains_key(&who) {
                    continue;
                }
                bench.consume(NAMES[who], "Q", |info| {
                    info.prefetch_size = prefetch;
                    info.exclusive = exclusive;
                    info.selector = only_red.then(|| "JMSType = 'red'".into());
                });
                model.consumers.insert(who, (prefetch, only_red, Vec::new()));
            }
            Step::Leave { who, last_delivered } => {
                if model.consumers.remove(&who).is_some() {
                    bench.leave(NAMES[who], last_delivered);
                }
            }
            Step::Ack { who, count } => {
                let count = count.min(model.held(who));
                if count > 0 {
                    bench.ack(NAMES[who], ack_type::STANDARD, count);
                    model.take(who, count);
                }
            }
            Step::Transact { who, count, commit } => {
                let count = count.min(model.held(who));
                if count == 0 {
                    continue;
                }
                transactions += 1;
                bench.transact(NAMES[who], transaction_kind::BEGIN, transactions).unwrap();
                bench.try_ack(NAMES[who], ack_type::STANDARD, count, Some(transactions)).unwrap();
                let end = if commit {
                    transaction_kind::COMMIT_ONE_PHASE
                } else {
                    transaction_kind::ROLLBACK
                };
                if commit {
                    bench.held.get_mut(NAMES[who]).unwrap().drain(..count);
                    model.take(who, count);
                }
                bench.transact(NAMES[who], end, transactions).unwrap();
            }
            Step::Poison { who } => {
                if model.held(who) > 0 {
                    let number = model.consumers[&who].2[0];
                    bench.ack(NAMES[who], ack_type::POISON, 1);
                    model.take(who, 1);
                    model.dead.insert(number);
                }
            }
        }
        model.look(&mut bench);
        let left = model.sent.len() - model.gone.len() + model.dead.len();
        let notes = bench.broker.memory.used() - left * message::MESSAGE_BYTES_MIN;
        assert!(notes <= model.dead.len() * 200, "{notes} bytes too many are in use");
    }
    for who in model.consumers.keys() {
        bench.leave(NAMES[*who], -1);
    }
    bench.consume("heir", "Q", |info| info.prefetch_size = 10_000);
    bench.consume("undertaker", "ActiveMQ.DLQ", |info| info.prefetch_size = 10_000);
    let numbers = |text: String| -> Vec<i64> {
        text.split_whitespace()
            .map(|word| word.trim_end_matches(['*', '!']).parse().unwrap())
            .collect()
    };
    let left: Vec<i64> = model.sent.difference(&model.gone).copied().collect();
    assert_eq!(numbers(bench.got("heir")), left, "what is left comes in the order it was sent");
    let mut dead = numbers(bench.got("undertaker"));
    dead.sort_unstable();
    assert_eq!(dead, model.dead.into_iter().collect::<Vec<_>>());
    for (name, count) in [("heir", left.len()), ("undertaker", dead.len())] {
        if count > 0 {
            bench.ack(name, ack_type::STANDARD, count);
        }
    }
    assert_eq!(bench.broker.memory.used(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_is_with_one_consumer_or_waits_until_it_is_gone(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        run(steps);
    }
}
