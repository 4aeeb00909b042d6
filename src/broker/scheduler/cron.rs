//! Entries of a cron table as ActiveMQ reads them, and when they are due.
//!
//! ```text
//!  minute 0-59   hour 0-23   day of month 1-31   month 1-12   day of week 0-6 (0 is Sunday)
//!  each:  *  or ?      every value              1,15    one of a list
//!         5            this value               9-17    a range
//!         */15  0-30/10   those of the part before the slash that can be divided by the number
//! ```
//!
//! Where both days are restricted, either will do. A step counts from 0, not from the first value: that
//! is ActiveMQ's own and what sets it apart from other readers of such tables.

use chrono::{DateTime, Datelike, Days, MappedLocalTime, NaiveDate, TimeZone, Timelike};

/// Why a text is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("Not a valid cron entry - wrong number of tokens({count}): {entry}")]
    Tokens { count: usize, entry: String },
    #[error("Invalid token: {field}:{token}")]
    Token { field: &'static str, token: String },
    /// There is no such day.
    #[error("Unable to compute next scheduled execution time: {entry}")]
    Never { entry: String },
}

/// When something is done again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: Values,
    hours: Values,
    days_of_month: Values,
    months: Values,
    days_of_week: Values,
}

/// A set of numbers below 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Values(u64);

struct Field {
    name: &'static str,
    first: u32,
    last: u32,
}

const MINUTES: Field = Field { name: "Minutes", first: 0, last: 59 };
const HOURS: Field = Field { name: "Hours", first: 0, last: 23 };
const DAYS_OF_MONTH: Field = Field { name: "DayOfMonth", first: 1, last: 31 };
const MONTHS: Field = Field { name: "Month", first: 1, last: 12 };
const DAYS_OF_WEEK: Field = Field { name: "DayOfWeek", first: 0, last: 6 };

/// A leap day may be eight years away, and then the next one that is a Sunday forty.
const DAYS_AHEAD: u64 = 41 * 366;

impl Cron {
    /// Reads an entry of five fields.
    ///
    /// # Errors
    /// What in it is not as it should be, or that it is never due.
    pub fn parse(entry: &str) -> Result<Self, Invalid> {
        let tokens: Vec<&str> = entry.split_ascii_whitespace().collect();
        let [minutes, hours, days_of_month, months, days_of_week] = tokens.as_slice() else {
            return Err(Invalid::Tokens { count: tokens.len(), entry: entry.to_owned() });
        };
        let cron = Self {
            minutes: MINUTES.read(minutes)?,
            hours: HOURS.read(hours)?,
            days_of_month: DAYS_OF_MONTH.read(days_of_month)?,
            months: MONTHS.read(months)?,
            days_of_week: DAYS_OF_WEEK.read(days_of_week)?,
        };
        // A leap year has all days that there are.
        let leap_year = NaiveDate::from_ymd_opt(2000, 1, 1);
        let mut days = leap_year.into_iter().flat_map(|first| first.iter_days().take(366));
        match days.any(|day| cron.is_on(day)) {
            true => Ok(cron),
            false => Err(Invalid::Never { entry: entry.to_owned() }),
        }
    }

    /// When it is due next after `now`: the beginning of a minute by the clock of that place. A time that
    /// a change of the clock leaves out is left out; one that comes twice counts once.
    pub fn next_after<Tz: TimeZone>(&self, now: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        let local = now.naive_local();
        let mut day = local.date();
        let mut not_before = Some((local.hour(), local.minute()));
        for _ in 0..DAYS_AHEAD {
            if self.is_on(day) {
                for (hour, minute) in self.times(not_before) {
                    let time = day.and_hms_opt(hour, minute, 0)?;
                    match now.timezone().from_local_datetime(&time) {
                        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _)
                            if at > *now =>
                        {
                            return Some(at);
                        }
                        MappedLocalTime::Single(_)
                        | MappedLocalTime::Ambiguous(..)
                        | MappedLocalTime::None => {}
                    }
                }
            }
            day = day.checked_add_days(Days::new(1))?;
            not_before = None;
        }
        None
    }

    /// Hours and minutes of a day on which it is due, those after a time, if one is given.
    fn times(&self, after: Option<(u32, u32)>) -> impl Iterator<Item = (u32, u32)> {
        let hours = (0..24).filter(|hour| self.hours.has(*hour));
        let times = hours.flat_map(|hour| {
            let minutes = (0..60).filter(|minute| self.minutes.has(*minute));
            minutes.map(move |minute| (hour, minute))
        });
        times.filter(move |time| after.is_none_or(|after| *time > after))
    }

    fn is_on(&self, day: NaiveDate) -> bool {
        let of_month = self.days_of_month.has(day.day());
        let of_week = self.days_of_week.has(day.weekday().num_days_from_sunday());
        let both =
            self.days_of_month != DAYS_OF_MONTH.all() && self.days_of_week != DAYS_OF_WEEK.all();
        self.months.has(day.month()) && if both { of_month || of_week } else { of_month && of_week }
    }
}

impl Values {
    fn has(self, value: u32) -> bool {
        self.0 >> value & 1 == 1
    }

    /// Those of a range that are below 64.
    fn range(first: u32, last: u32) -> Self {
        Self((first..=last.min(63)).fold(0, |all, value| all | 1 << value))
    }
}

impl Field {
    fn all(&self) -> Values {
        Values::range(self.first, self.last)
    }

    fn read(&self, token: &str) -> Result<Values, Invalid> {
        let invalid = || Invalid::Token { field: self.name, token: token.to_owned() };
        let mut values = Values(0);
        // ActiveMQ takes a step off the whole list in front of it.
        let (list, step) = match token.split_once('/') {
            Some((list, step)) => {
                (list, number(step).filter(|step| *step > 0).ok_or_else(invalid)?)
            }
            None => (token, 1),
        };
        for part in list.split(',') {
            values.0 |= self.part(part).ok_or_else(invalid)?.0;
        }
        values.0 &=
            (0..64).filter(|value| value % step == 0).fold(0, |all, value| all | 1 << value);
        if values.0 == 0 || values.0 & !self.all().0 != 0 {
            return Err(invalid());
        }
        Ok(values)
    }

    fn part(&self, part: &str) -> Option<Values> {
        match part {
            "*" | "?" => Some(self.all()),
            _ => {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (number(first)?, number(last)?);
                (first <= last && last <= self.last).then(|| Values::range(first, last))
            }
        }
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, NaiveDateTime, Utc};

    use super::*;

    const FORMAT: &str = "%Y-%m-%d %H:%M:%S";

    /// The next times after a Wednesday, in UTC.
    #[track_caller]
    fn check(entry: &str, expected: &[&str]) {
        let now = NaiveDateTime::parse_from_str("2025-01-15 10:07:30", FORMAT).unwrap();
        let cron = Cron::parse(entry).unwrap();
        let mut now = now.and_utc();
        for expected in expected {
            now = cron.next_after(&now).unwrap();
            assert_eq!(now.format(FORMAT).to_string(), format!("{expected}:00"), "{entry}");
        }
    }

    #[test]
    fn each_field_is_a_value_a_range_a_list_a_step_or_all() {
        check("* * * * *", &["2025-01-15 10:08", "2025-01-15 10:09"]);
        check("7 * * * *", &["2025-01-15 11:07", "2025-01-15 12:07"]);
        check("*/15 * * * *", &["2025-01-15 10:15", "2025-01-15 10:30"]);
        check("5-20/10 9-11 * * *", &["2025-01-15 10:10", "2025-01-15 10:20", "2025-01-15 11:10"]);
        check("0,30 22 * * ?", &["2025-01-15 22:00", "2025-01-15 22:30", "2025-01-16 22:00"]);
        check("0 12 1 * *", &["2025-02-01 12:00", "2025-03-01 12:00"]);
        check("0 0 31 * *", &["2025-01-31 00:00", "2025-03-31 00:00", "2025-05-31 00:00"]);
        check("0 0 29 2 *", &["2028-02-29 00:00", "2032-02-29 00:00"]);
        check("59 23 31 12 *", &["2025-12-31 23:59", "2026-12-31 23:59"]);
        check("0 6 * * 1-5", &["2025-01-16 06:00", "2025-01-17 06:00", "2025-01-20 06:00"]);
        check("0 6 * 4 0", &["2025-04-06 06:00", "2025-04-13 06:00"]);
    }

    /// Entry, milliseconds since 1970, and when ActiveMQ 5.17.2 has it due next in UTC. Left out are those
    /// where it keeps the minute it looks at, or runs over the end of a month.
    const ACTIVEMQ: &str = include_str!("cron_activemq.tsv");

    #[test]
    fn entries_are_due_when_they_are_for_activemq() {
        for line in ACTIVEMQ.lines() {
            let mut parts = line.split('\t');
            let cron = Cron::parse(parts.next().unwrap()).unwrap();
            let mut times = parts.map(|ms| Utc.timestamp_millis_opt(ms.parse().unwrap()).unwrap());
            let now = times.next().unwrap();
            assert_eq!(cron.next_after(&now), times.next(), "{line}");
        }
    }

    #[test]
    fn a_step_counts_from_0_as_for_activemq() {
        check("0 0 */10 * *", &["2025-01-20 00:00", "2025-01-30 00:00", "2025-02-10 00:00"]);
        check("0 0 1 */6 *", &["2025-06-01 00:00", "2025-12-01 00:00"]);
    }

    #[test]
    fn of_two_restricted_days_either_will_do() {
        check("0 0 17 * 1", &["2025-01-17 00:00", "2025-01-20 00:00", "2025-01-27 00:00"]);
        check("0 0 30 2 1", &["2025-02-03 00:00", "2025-02-10 00:00"]);
    }

    #[test]
    fn what_is_no_entry_is_refused_with_the_token() {
        let refused = |entry: &str| Cron::parse(entry).unwrap_err().to_string();
        assert_eq!(refused("* * *"), "Not a valid cron entry - wrong number of tokens(3): * * *");
        assert_eq!(refused("60 * * * *"), "Invalid token: Minutes:60");
        assert_eq!(refused("* 24 * * *"), "Invalid token: Hours:24");
        assert_eq!(refused("* * 0 * *"), "Invalid token: DayOfMonth:0");
        assert_eq!(refused("* * * JAN *"), "Invalid token: Month:JAN");
        assert_eq!(refused("* * * * 7"), "Invalid token: DayOfWeek:7");
        for token in
            ["", ",", "-", "1-", "-1", "5-1", "*/0", "*/x", "7/2", "/", "1,,2", "99999999999"]
        {
            assert!(MINUTES.read(token).is_err(), "{token}");
        }
        assert!(refused("0 0 30 2 *").starts_with("Unable to compute"));
    }

    #[test]
    fn the_time_is_that_of_the_place() {
        let zone = FixedOffset::east_opt(2 * 3600).unwrap();
        let now = Utc.with_ymd_and_hms(2025, 1, 15, 22, 30, 0).unwrap().with_timezone(&zone);
        let next = Cron::parse("0 1 * * *").unwrap().next_after(&now).unwrap();
        assert_eq!(next.to_utc(), Utc.with_ymd_and_hms(2025, 1, 15, 23, 0, 0).unwrap());
    }
}
