//! What evaluating a selector may cost: nothing on the heap for the everyday ones.

use std::alloc::System;

use openwired::openwire::Message;
use openwired::openwire::map::{PrimitiveMap, Value};
use openwired::selector::{Delivered, Selector};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The only test of this file, so that nothing else allocates meanwhile.
#[test]
fn everyday_selectors_allocate_nothing_for_a_message() {
    let properties: PrimitiveMap = [
        ("region", Value::String("north".into())),
        ("color", Value::String("red".into())),
        ("size", Value::Int(10)),
        ("price", Value::Double(9.5)),
        ("paid", Value::Boolean(true)),
    ]
    .into_iter()
    .collect();
    let message = Message {
        kind: Some("order".into()),
        correlation_id: Some("c-17".into()),
        priority: 7,
        marshalled_properties: Some(properties.encode().unwrap()),
        ..Message::default()
    };
    let delivered = Delivered { message: &message, redelivery_counter: 1 };
    let selectors = [
        "color = 'red' AND region <> 'south'",
        "size > 5 AND price * 2 <= 19 AND -size < 0 AND paid",
        "color IN ('blue', 'red') AND color LIKE 'r_d%' AND size BETWEEN 1 AND 10",
        "JMSCorrelationID = 'c-17' AND JMSType LIKE 'o%' AND JMSPriority > 4 AND JMSRedelivered",
        "missing IS NULL AND NOT (missing = 'x' OR color = 'blue')",
    ];
    for text in selectors {
        let selector = Selector::parse(text).unwrap();
        let region = Region::new(ALLOCATOR);
        let selected = (0..100).all(|_| selector.matches(&delivered));
        let used = region.change();
        assert_eq!(
            (selected, used.allocations, used.reallocations),
            (text != selectors[4], 0, 0),
            "{text}"
        );
    }
}
