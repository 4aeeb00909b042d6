//! What a message asks of the scheduler, in its properties.

use chrono::{DateTime, Local, TimeZone};

use super::cron::Cron;
use crate::broker::refusal::Refusal;
use crate::openwire::map::{self, PrimitiveMap, Value};
use crate::openwire::{Destination, Message};

const DELAY: &str = "AMQ_SCHEDULED_DELAY";
const PERIOD: &str = "AMQ_SCHEDULED_PERIOD";
const REPEAT: &str = "AMQ_SCHEDULED_REPEAT";
const CRON: &str = "AMQ_SCHEDULED_CRON";
/// What a message has that comes from the scheduler: the job that sent it.
const JOB_ID: &str = "scheduledJobId";

/// Messages to destinations that begin so, in whatever case, are for the scheduler itself.
const MANAGEMENT: &str = "ActiveMQ.Scheduler.Management";
const ACTION: &str = "AMQ_SCHEDULER_ACTION";
const ACTION_START: &str = "ACTION_START_TIME";
const ACTION_END: &str = "ACTION_END_TIME";

/// The period of what asks to be repeated at once: ActiveMQ's scheduler looks again after so long.
const PERIOD_DEFAULT_MS: i64 = 500;

/// When and how often a message is to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    cron: Option<Cron>,
    delay_ms: i64,
    period_ms: i64,
    /// How often it is sent again; below 0 for ever.
    repeat: i32,
}

/// What follows from the firing of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// The message is sent now. It is not where a cron entry only begins its repeats.
    pub sends: bool,
    /// A job of its own is due first then: the repeats that a cron entry begins.
    pub repeats_at_ms: Option<i64>,
    /// The job itself is due again then.
    pub again_at_ms: Option<i64>,
    /// The message is sent more than once, so that it needs an id of its own each time.
    pub new_id: bool,
}

impl Order {
    /// What a message asks for; `None` when it is to be sent now, or comes from a scheduler.
    ///
    /// # Errors
    /// A property is not what it should be, or `repeat` is above the most that is allowed.
    pub fn of(message: &Message, repeat_max: u32) -> Result<Option<Self>, Refusal> {
        let Some(properties) = message.marshalled_properties.as_deref() else { return Ok(None) };
        let (cron, delay) = (property(properties, CRON)?, property(properties, DELAY)?);
        let period = property(properties, PERIOD)?;
        if cron.is_none() && delay.is_none() && period.is_none() {
            return Ok(None);
        }
        if property(properties, JOB_ID)?.is_some() {
            return Ok(None);
        }
        let cron = cron.map(|cron| text(CRON, &cron)).transpose()?;
        let cron = cron.filter(|cron| !cron.is_empty()).map(|cron| Cron::parse(&cron)).transpose();
        let repeat = number(REPEAT, property(properties, REPEAT)?)?;
        let repeat = i32::try_from(repeat).unwrap_or(if repeat < 0 { -1 } else { i32::MAX });
        if u32::try_from(repeat).is_ok_and(|repeat| repeat > repeat_max) {
            return Err(Refusal::MessageFormat(
                "The scheduled repeat value is too large".to_owned(),
            ));
        }
        Ok(Some(Self {
            cron: cron.map_err(|invalid| Refusal::Jms(invalid.to_string()))?,
            delay_ms: number(DELAY, delay)?,
            period_ms: number(PERIOD, period)?,
            repeat,
        }))
    }

    /// When it is due first.
    pub fn first_at_ms(&self, now_ms: i64) -> i64 {
        let from = self.cron.as_ref().and_then(|cron| after(cron, now_ms)).unwrap_or(now_ms);
        from.saturating_add(self.lead_ms())
    }

    fn lead_ms(&self) -> i64 {
        if self.delay_ms > 0 { self.delay_ms } else { self.period_ms.max(0) }
    }

    /// What happens at `now_ms` to a job that was due at `due_ms` and fired `count` times before.
    pub fn fire(&self, due_ms: i64, count: u32, now_ms: i64) -> Firing {
        let repeats = self.repeat != 0;
        if let Some(cron) = &self.cron {
            return Firing {
                sends: !repeats,
                repeats_at_ms: repeats.then(|| now_ms.saturating_add(self.lead_ms())),
                again_at_ms: after(cron, now_ms),
                new_id: true,
            };
        }
        let left = u32::try_from(self.repeat).map_or(repeats, |repeat| count < repeat);
        let period = if self.period_ms > 0 { self.period_ms } else { PERIOD_DEFAULT_MS };
        // Steady while in time; what was missed while no broker ran is not made up for in one burst.
        let again = Some(due_ms.saturating_add(period)).filter(|again| *again > now_ms);
        let again = again.unwrap_or_else(|| now_ms.saturating_add(period));
        Firing {
            sends: true,
            repeats_at_ms: None,
            again_at_ms: left.then_some(again),
            new_id: repeats,
        }
    }
}

/// When an entry is due next by the clock of this machine's place.
fn after(cron: &Cron, now_ms: i64) -> Option<i64> {
    let now: DateTime<Local> = Local.timestamp_millis_opt(now_ms).single()?;
    cron.next_after(&now).map(|next| next.timestamp_millis())
}

/// What a message asks the scheduler to do with the jobs it has.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Sends a copy of each job's message that is due in the span.
    Browse {
        reply_to: Destination,
        span: Span,
    },
    Remove {
        job_id: String,
    },
    RemoveAll(Span),
    /// Nothing that is known.
    Nothing,
}

/// Milliseconds since 1970, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from_ms: i64,
    pub to_ms: i64,
}

impl Span {
    pub const ALL: Self = Self { from_ms: i64::MIN, to_ms: i64::MAX };

    pub fn has(&self, time_ms: i64) -> bool {
        (self.from_ms..=self.to_ms).contains(&time_ms)
    }
}

impl Request {
    /// What a message asks for; `None` when it is no message for the scheduler.
    ///
    /// # Errors
    /// A time is none.
    pub fn of(message: &Message) -> Result<Option<Self>, Refusal> {
        let is_for_us = |destination: &Destination| {
            let name = destination.name();
            let start = name.get(..MANAGEMENT.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(MANAGEMENT))
        };
        if !message.destination.as_deref().is_some_and(is_for_us) {
            return Ok(None);
        }
        let properties = message.marshalled_properties.as_deref().unwrap_or_default();
        let (start, end) = (property(properties, ACTION_START)?, property(properties, ACTION_END)?);
        let span = match start.is_some() && end.is_some() {
            true => Span { from_ms: number(ACTION_START, start)?, to_ms: number(ACTION_END, end)? },
            false => Span::ALL,
        };
        let action =
            property(properties, ACTION)?.map(|action| text(ACTION, &action)).transpose()?;
        let job = property(properties, JOB_ID)?.map(|job| text(JOB_ID, &job)).transpose()?;
        let request = match (action.as_deref(), message.reply_to.clone(), job) {
            (Some("BROWSE"), Some(reply_to), _) => Self::Browse { reply_to, span },
            (Some("REMOVE"), _, Some(job_id)) => Self::Remove { job_id },
            (Some("REMOVEALL"), ..) => Self::RemoveAll(span),
            _ => Self::Nothing,
        };
        Ok(Some(request))
    }
}

/// A message as it is sent when its time has come: it names its job, asks for no more, and its time to
/// live begins now.
pub fn due(message: &Message, job_id: &str, now_ms: i64) -> Message {
    let mut sent = with_properties(message, |properties| {
        for asked in [DELAY, PERIOD, REPEAT, CRON] {
            properties.remove(asked);
        }
        properties.insert(JOB_ID, Value::String(job_id.into()));
    });
    sent.original_transaction_id = None;
    if message.timestamp > 0 && message.expiration > 0 {
        let expiration = (message.expiration - message.timestamp).saturating_add(now_ms);
        if expiration > message.expiration {
            sent.expiration = expiration;
            sent.timestamp = now_ms;
        }
    }
    sent
}

/// The message of the job that sends the repeats which a cron entry begins.
pub fn repeats(message: &Message) -> Message {
    with_properties(message, |properties| {
        properties.remove(CRON);
    })
}

/// The copy of a job's message that answers a `BROWSE`.
pub fn shown(message: &Message, job_id: &str, reply_to: &Destination) -> Message {
    let mut shown = with_properties(message, |properties| {
        properties.insert(JOB_ID, Value::String(job_id.into()));
    });
    shown.persistent = false;
    shown.kind = Some("Advisory".into());
    shown.original_transaction_id = None;
    shown.original_destination = message.destination.clone();
    shown.destination = Some(reply_to.clone().into());
    shown
}

/// A copy with other properties. What cannot be read stays as it is.
fn with_properties(message: &Message, change: impl FnOnce(&mut PrimitiveMap)) -> Message {
    let mut copy = message.clone();
    let read = message.marshalled_properties.as_deref().unwrap_or_default();
    let read = if read.is_empty() { Ok(None) } else { PrimitiveMap::decode(read) };
    if let Ok(properties) = read {
        let mut properties = properties.unwrap_or_default();
        change(&mut properties);
        if let Ok(encoded) = properties.encode() {
            copy.marshalled_properties = Some(encoded);
        }
    }
    copy
}

/// A property that is there and not null.
fn property(properties: &[u8], name: &str) -> Result<Option<Value>, Refusal> {
    if properties.is_empty() {
        return Ok(None);
    }
    let value = map::get(properties, name);
    let value = value.map_err(|error| Refusal::MessageFormat(error.to_string()))?;
    Ok(value.filter(|value| *value != Value::Null))
}

fn text(name: &str, value: &Value) -> Result<String, Refusal> {
    if let Value::String(text) = value {
        return Ok(text.to_string());
    }
    Err(Refusal::MessageFormat(format!("{name} is no text: {value:?}")))
}

/// A number, or a text that says one; 0 where there is none.
fn number(name: &str, value: Option<Value>) -> Result<i64, Refusal> {
    let Some(value) = value else { return Ok(0) };
    let number = match &value {
        Value::Byte(number) => Some(i64::from(*number)),
        Value::Short(number) => Some(i64::from(*number)),
        Value::Int(number) => Some(i64::from(*number)),
        Value::Long(number) => Some(*number),
        Value::String(text) => text.to_str().parse().ok(),
        Value::Null
        | Value::Boolean(_)
        | Value::Char(_)
        | Value::Double(_)
        | Value::Float(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_) => None,
    };
    number.ok_or_else(|| Refusal::MessageFormat(format!("{name} is no number: {value:?}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn message(properties: &[(&'static str, Value)]) -> Message {
        let properties: PrimitiveMap = properties.iter().cloned().collect();
        Message {
            marshalled_properties: Some(properties.encode().unwrap()),
            destination: Some(Arc::new(Destination::queue("Q"))),
            ..Message::default()
        }
    }

    fn order(properties: &[(&'static str, Value)]) -> Order {
        Order::of(&message(properties), 1000).unwrap().unwrap()
    }

    fn properties_of(message: &Message) -> PrimitiveMap {
        PrimitiveMap::decode(message.marshalled_properties.as_deref().unwrap()).unwrap().unwrap()
    }

    #[test]
    fn only_what_asks_for_a_time_is_scheduled() {
        let is_scheduled = |properties: &[(&'static str, Value)]| {
            Order::of(&message(properties), 1000).unwrap().is_some()
        };
        assert!(!is_scheduled(&[]));
        assert!(!is_scheduled(&[(REPEAT, Value::Int(3))]));
        assert!(!is_scheduled(&[(DELAY, Value::Null)]));
        assert!(!is_scheduled(&[(DELAY, Value::Long(5)), (JOB_ID, Value::String("ID:1".into()))]));
        assert!(is_scheduled(&[(DELAY, Value::Long(5))]));
        assert!(is_scheduled(&[(PERIOD, Value::Int(5))]));
        assert!(is_scheduled(&[(CRON, Value::String("* * * * *".into()))]));
        assert!(is_scheduled(&[(CRON, Value::String("".into()))]));
        assert_eq!(Order::of(&Message::default(), 1000), Ok(None));
    }

    #[test]
    fn a_delay_comes_before_a_period_and_texts_are_numbers_too() {
        assert_eq!(order(&[(DELAY, Value::Long(70))]).first_at_ms(1000), 1070);
        assert_eq!(order(&[(DELAY, Value::String("70".into()))]).first_at_ms(1000), 1070);
        assert_eq!(order(&[(PERIOD, Value::Int(30))]).first_at_ms(1000), 1030);
        let both = [(DELAY, Value::Long(70)), (PERIOD, Value::Long(30))];
        assert_eq!(order(&both).first_at_ms(1000), 1070);
        assert_eq!(order(&[(DELAY, Value::Long(-5))]).first_at_ms(1000), 1000);
        assert_eq!(order(&[(DELAY, Value::Long(i64::MAX))]).first_at_ms(1000), i64::MAX);
    }

    #[test]
    fn it_is_sent_once_and_as_often_again_as_it_says() {
        let once = order(&[(DELAY, Value::Long(70)), (PERIOD, Value::Long(30))]);
        let fired = once.fire(1000, 0, 1000);
        assert_eq!((fired.sends, fired.again_at_ms, fired.new_id), (true, None, false));
        let twice_more = order(&[(PERIOD, Value::Long(30)), (REPEAT, Value::Int(2))]);
        let again = |count| twice_more.fire(1000, count, 1001).again_at_ms;
        assert_eq!([again(0), again(1), again(2)], [Some(1030), Some(1030), None]);
        assert!(twice_more.fire(1000, 2, 1001).new_id);
        let for_ever = order(&[(PERIOD, Value::Long(30)), (REPEAT, Value::Int(-1))]);
        assert_eq!(for_ever.fire(1000, u32::MAX, 1000).again_at_ms, Some(1030));
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let order = order(&[(PERIOD, Value::Long(30)), (REPEAT, Value::Int(-1))]);
        assert_eq!(order.fire(1000, 3, 9000).again_at_ms, Some(9030));
    }

    #[test]
    fn a_period_of_nothing_is_half_a_second() {
        let order = order(&[(DELAY, Value::Long(5)), (REPEAT, Value::Int(-1))]);
        assert_eq!(order.fire(1000, 3, 1000).again_at_ms, Some(1500));
    }

    #[test]
    fn a_cron_entry_sends_for_ever_or_begins_repeats() {
        let every_minute = Value::String("* * * * *".into());
        let cron = order(&[(CRON, every_minute.clone())]);
        assert_eq!(cron.first_at_ms(61_000), 120_000);
        let fired = cron.fire(120_000, 7, 120_001);
        assert_eq!(
            (fired.sends, fired.again_at_ms, fired.repeats_at_ms),
            (true, Some(180_000), None)
        );
        assert!(fired.new_id);
        let all = [(CRON, every_minute), (PERIOD, Value::Int(100)), (REPEAT, Value::Int(2))];
        let fired = order(&all).fire(120_000, 0, 120_001);
        assert_eq!((fired.sends, fired.repeats_at_ms), (false, Some(120_101)));
        assert_eq!(fired.again_at_ms, Some(180_000));
        let inner = Order::of(&repeats(&message(&all)), 1000).unwrap().unwrap();
        assert_eq!(inner.cron, None);
        assert_eq!((inner.period_ms, inner.repeat), (100, 2));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let refused =
            |properties: &[(&'static str, Value)]| Order::of(&message(properties), 5).unwrap_err();
        let many = refused(&[(DELAY, Value::Long(1)), (REPEAT, Value::Int(6))]);
        assert_eq!(many.class_name(), "javax.jms.MessageFormatException");
        assert_eq!(many.to_string(), "The scheduled repeat value is too large");
        refused(&[(DELAY, Value::String("soon".into()))]);
        refused(&[(PERIOD, Value::Boolean(true))]);
        refused(&[(CRON, Value::String("* *".into()))]);
    }

    #[test]
    fn a_message_that_is_due_asks_for_no_more_and_lives_from_now_on() {
        let scheduled = Message {
            timestamp: 1000,
            expiration: 1500,
            ..message(&[
                (DELAY, Value::Long(600)),
                (REPEAT, Value::Int(1)),
                (PERIOD, Value::Long(3)),
                (CRON, Value::String("".into())),
                ("own", Value::Int(1)),
            ])
        };
        let sent = due(&scheduled, "ID:s:1:1:4", 1600);
        let expected: PrimitiveMap =
            [("own", Value::Int(1)), (JOB_ID, Value::String("ID:s:1:1:4".into()))]
                .into_iter()
                .collect();
        assert_eq!(properties_of(&sent), expected);
        assert_eq!((sent.timestamp, sent.expiration), (1600, 2100));
        assert_eq!(due(&Message { timestamp: 1000, ..scheduled }, "j", 900).timestamp, 1000);
        assert_eq!(Order::of(&sent, 5), Ok(None));
    }

    #[test]
    fn a_message_to_the_scheduler_says_what_to_do() {
        let request = |properties: &[(&'static str, Value)]| {
            let topic = Destination::topic("activemq.scheduler.management");
            let reply_to = Some(Destination::queue("REPLIES"));
            let destination = Some(Arc::new(topic));
            Request::of(&Message { destination, reply_to, ..message(properties) }).unwrap().unwrap()
        };
        let action = |action: &str| (ACTION, Value::String(action.into()));
        let times = [(ACTION_START, Value::String("5".into())), (ACTION_END, Value::Long(9))];
        let span = Span { from_ms: 5, to_ms: 9 };
        let [start, end] = times;
        let reply_to = Destination::queue("REPLIES");
        assert_eq!(
            request(&[action("BROWSE"), start.clone(), end.clone()]),
            Request::Browse { reply_to, span }
        );
        assert_eq!(request(&[action("REMOVEALL"), start.clone(), end]), Request::RemoveAll(span));
        assert_eq!(request(&[action("REMOVEALL"), start]), Request::RemoveAll(Span::ALL));
        let job = (JOB_ID, Value::String("ID:s:1:1:4".into()));
        let job_id = "ID:s:1:1:4".to_owned();
        assert_eq!(request(&[action("REMOVE"), job]), Request::Remove { job_id });
        assert_eq!(request(&[action("REMOVE")]), Request::Nothing);
        assert_eq!(request(&[]), Request::Nothing);
        assert_eq!(Request::of(&message(&[action("REMOVEALL")])), Ok(None));
    }
}
