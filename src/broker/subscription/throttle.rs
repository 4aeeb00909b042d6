//! How many messages a bridge's consumer gets in a span of time: `rateLimit` of a
//! `<conditionalNetworkBridgeFilterFactory>`.

use parking_lot::Mutex;

use crate::broker::options::policy::ConditionalBridgeFilter;

/// What one consumer got lately.
#[derive(Debug, Default)]
pub struct Throttle {
    span: Mutex<Span>,
}

#[derive(Debug, Default)]
struct Span {
    /// Its last millisecond, since 1970.
    ends_ms: i64,
    got: u32,
}

impl Throttle {
    /// When the consumer may get another message; `None` means now.
    pub fn opens_ms(&self, rule: Option<&ConditionalBridgeFilter>, now_ms: i64) -> Option<i64> {
        let limit = rule?.rate_limit?;
        let span = self.span.lock();
        (now_ms <= span.ends_ms && span.got >= limit).then(|| span.ends_ms.saturating_add(1))
    }

    /// It gets one; the first after the end of a span begins another.
    pub fn count(&self, rule: Option<&ConditionalBridgeFilter>, now_ms: i64) {
        let Some(rule) = rule.filter(|rule| rule.rate_limit.is_some()) else { return };
        let mut span = self.span.lock();
        if now_ms > span.ends_ms {
            let ms = i64::try_from(rule.rate_duration.as_millis()).unwrap_or(i64::MAX);
            *span = Span { ends_ms: now_ms.saturating_add(ms), got: 0 };
        }
        span.got = span.got.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_come_in_a_span_that_begins_with_the_first() {
        let rule = ConditionalBridgeFilter { rate_limit: Some(2), ..Default::default() };
        let (rule, throttle) = (Some(&rule), Throttle::default());
        let mut got = Vec::new();
        for now_ms in [5000, 5001, 5002, 6000, 6001, 6500, 7000, 7001, 7002] {
            let opens = throttle.opens_ms(rule, now_ms);
            if opens.is_none() {
                throttle.count(rule, now_ms);
            }
            got.push(opens);
        }
        let (first, second) = (Some(6001), Some(7002));
        assert_eq!(got, [None, None, first, first, None, None, second, second, None]);
    }

    #[test]
    fn without_a_limit_all_come_at_once() {
        let rule = ConditionalBridgeFilter::default();
        let throttle = Throttle::default();
        for rule in [None, Some(&rule)] {
            throttle.count(rule, 1);
            assert_eq!(throttle.opens_ms(rule, 1), None);
        }
    }
}
