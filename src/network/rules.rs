//! Which destinations a bridge is for, and what it listens to to learn of consumers.

use super::options::NetworkOptions;
use crate::openwire::Destination;
use crate::openwire::destination::ADVISORY_PREFIX;

/// In front of the names of consumer advisories.
const CONSUMER: &str = "Consumer.";

impl NetworkOptions {
    /// Whether consumers of `destination`, one member of a composite, are served.
    pub fn permits(&self, destination: &Destination) -> bool {
        if destination.is_temporary() {
            return self.bridge_temp_destinations;
        }
        let fits = |list: &[Destination]| list.iter().any(|pattern| covers(pattern, destination));
        if fits(&self.excluded_destinations) {
            return false;
        }
        let included = &self.dynamically_included_destinations;
        fits(&self.statically_included_destinations) || included.is_empty() || fits(included)
    }

    /// Whether consumers of this topic make a durable subscription here although they have none: an
    /// included destination says so with `?forceDurable=true`.
    pub fn forces_durable(&self, destination: &Destination) -> bool {
        let lists =
            [&self.dynamically_included_destinations, &self.statically_included_destinations];
        let said = |pattern: &&Destination| option(pattern, "forceDurable") == Some("true".into());
        destination.is_topic()
            && !destination.is_temporary()
            && lists.into_iter().flatten().filter(said).any(|pattern| covers(pattern, destination))
    }

    /// The advisory topics that tell of consumers.
    pub fn consumer_advisories(&self) -> String {
        let prefix = format!("{ADVISORY_PREFIX}{CONSUMER}");
        let topic = |pattern: &Destination| {
            let kind = if pattern.is_queue() { "Queue" } else { "Topic" };
            format!("{prefix}{kind}.{}", bare(pattern).name())
        };
        let included = &self.dynamically_included_destinations;
        if self.destination_filter.starts_with(&prefix) {
            self.destination_filter.clone()
        } else if self.destination_filter == ">" && !included.is_empty() {
            let topics: Vec<_> = included.iter().filter(|d| !d.is_temporary()).map(topic).collect();
            topics.join(",")
        } else {
            format!("{prefix}{}", self.destination_filter)
        }
    }

    /// All that a bridge listens to; `None` when it need not. Of virtual destinations it hears all and takes
    /// what [`Self::permits`] says: ActiveMQ tells under another name that their consumers are gone.
    pub fn advisories(&self) -> Option<Destination> {
        if self.static_bridge {
            return None;
        }
        let mut topics = vec![self.consumer_advisories()];
        if self.use_virtual_dest_subs && self.destination_filter == ">" {
            topics.push(format!("{ADVISORY_PREFIX}VirtualDestination.{CONSUMER}>"));
        }
        if self.bridge_temp_destinations {
            topics.extend(["TempQueue", "TempTopic"].map(|it| format!("{ADVISORY_PREFIX}{it}")));
        }
        Some(Destination::topic(&topics.join(",")))
    }
}

/// A destination without the options behind its `?`.
pub fn bare(destination: &Destination) -> Destination {
    let name = destination.name();
    let name = name.split_once('?').map_or(&*name, |(name, _)| name);
    Destination::new(destination.class, name)
}

fn option(destination: &Destination, wanted: &str) -> Option<String> {
    let name = destination.name();
    let (_, query) = name.split_once('?')?;
    let options = crate::base::uri::parse_query(query).ok()?;
    options.into_iter().find(|(name, _)| name == wanted).map(|(_, value)| value)
}

/// Whether `pattern` is this destination or fits it.
pub fn covers(pattern: &Destination, destination: &Destination) -> bool {
    let pattern = bare(pattern);
    pattern == *destination || pattern.matches(destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> Destination {
        Destination::queue(name)
    }

    #[test]
    fn exclusions_win_over_inclusions_and_without_any_all_are_served() {
        let mut options = NetworkOptions::default();
        assert!(options.permits(&queue("A")));
        options.dynamically_included_destinations = vec![queue("A.>")];
        options.excluded_destinations = vec![queue("A.NOT")];
        options.statically_included_destinations = vec![queue("B")];
        assert!(options.permits(&queue("A.X")) && options.permits(&queue("B")));
        assert!(!options.permits(&queue("A.NOT")) && !options.permits(&queue("C")));
        assert!(!options.permits(&Destination::topic("A.X")), "of another kind");
    }

    #[test]
    fn temporary_destinations_have_a_word_of_their_own() {
        let temporary = Destination::new(crate::openwire::DestinationKind::TempQueue, "ID:x:1");
        let mut options = NetworkOptions::default();
        assert!(options.permits(&temporary));
        options.bridge_temp_destinations = false;
        assert!(!options.permits(&temporary));
        let topic = Destination::topic("ActiveMQ.Advisory.Consumer.>");
        assert_eq!(options.advisories(), Some(topic));
    }

    #[test]
    fn a_bridge_listens_for_consumers_of_what_is_included() {
        let included = vec![Destination::topic("NET.>?forceDurable=true"), queue("NET.>")];
        let mut options = NetworkOptions {
            dynamically_included_destinations: included,
            ..NetworkOptions::default()
        };
        let topics = "ActiveMQ.Advisory.Consumer.Topic.NET.>,ActiveMQ.Advisory.Consumer.Queue.NET.>,\
             ActiveMQ.Advisory.TempQueue,ActiveMQ.Advisory.TempTopic";
        assert_eq!(options.advisories(), Some(Destination::topic(topics)));
        assert!(options.forces_durable(&Destination::topic("NET.X")));
        assert!(!options.forces_durable(&queue("NET.X")));
        options.destination_filter = "Queue.Q".to_owned();
        assert_eq!(options.consumer_advisories(), "ActiveMQ.Advisory.Consumer.Queue.Q");
        options.static_bridge = true;
        assert_eq!(options.advisories(), None);
    }

    #[test]
    fn a_bridge_hears_of_virtual_destinations_unless_it_is_told_what_to_hear() {
        let mut options = NetworkOptions {
            use_virtual_dest_subs: true,
            bridge_temp_destinations: false,
            ..NetworkOptions::default()
        };
        let virtual_ones = "ActiveMQ.Advisory.VirtualDestination.Consumer.>";
        let both = format!("ActiveMQ.Advisory.Consumer.>,{virtual_ones}");
        assert_eq!(options.advisories(), Some(Destination::topic(&both)));
        options.dynamically_included_destinations = vec![Destination::topic("T")];
        let both = format!("ActiveMQ.Advisory.Consumer.Topic.T,{virtual_ones}");
        assert_eq!(options.advisories(), Some(Destination::topic(&both)));
        options.destination_filter = "Queue.Q".to_owned();
        let one = "ActiveMQ.Advisory.Consumer.Queue.Q";
        assert_eq!(options.advisories(), Some(Destination::topic(one)));
    }
}
