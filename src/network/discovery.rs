//! Where peers are: `static:(…)`, `masterslave:(…)` and the like.
//!
//! A *group* is a list of brokers of which one at a time serves, a master and its slaves; it has one
//! bridge, to whichever answers. In `static:(a,b)` each member is a group of its own.

use std::time::Duration;

use crate::base::uri::{Target, Uri};
use crate::client::BrokerUrl;
use crate::client::url::Endpoint;

/// Brokers of which one at a time serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// As it was written, for the log.
    pub shown: String,
    pub members: Vec<Endpoint>,
}

/// How the members of a group are looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Between the first two rounds.
    pub first: Duration,
    /// Between two rounds at most.
    pub longest: Duration,
    /// By which the time between rounds grows.
    pub growth: f64,
    /// Rounds before giving up; `None` goes on for ever.
    pub rounds_max: Option<u32>,
    /// A bridge that lived shorter failed.
    pub lived_min: Duration,
}

impl Default for Pace {
    /// Much shorter than ActiveMQ's second and half a minute: a refused connection costs next to
    /// nothing, and a peer that came up is to be found at once.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            longest: Duration::from_millis(150),
            growth: 2.0,
            rounds_max: None,
            lived_min: Duration::from_secs(1),
        }
    }
}

/// What a connector's `uri` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    pub groups: Vec<Group>,
    pub pace: Pace,
}

impl Discovery {
    /// Reads the `uri` of a network connector.
    ///
    /// # Errors
    /// What in it is not served, in words for who wrote it.
    pub fn read(uri: &Uri) -> Result<Self, String> {
        let mut pace = Pace::default();
        let groups = match (uri.scheme.as_str(), &uri.target) {
            ("static" | "simple", Target::Members(members)) => {
                pace.read(&uri.query)?;
                members.iter().map(group).collect::<Result<_, _>>()?
            }
            ("static" | "simple", _) => return Err("static: needs a list: static:(tcp://…)".into()),
            ("masterslave" | "ha", Target::Members(members)) => {
                if members.len() < 2 {
                    return Err(format!("{}: needs two brokers or more", uri.scheme));
                }
                pace.read(&uri.query)?;
                vec![list(uri.to_string(), members)?]
            }
            _ => vec![group(uri)?],
        };
        if groups.is_empty() {
            return Err("it lists no broker".to_owned());
        }
        Ok(Self { groups, pace })
    }
}

/// The group that one member of a list is.
///
/// # Errors
/// What in it is not served.
pub fn group(uri: &Uri) -> Result<Group, String> {
    match (uri.scheme.as_str(), &uri.target) {
        ("failover" | "masterslave" | "ha", Target::Members(members)) => {
            list(uri.to_string(), members)
        }
        _ => list(uri.to_string(), std::slice::from_ref(uri)),
    }
}

fn list(shown: String, members: &[Uri]) -> Result<Group, String> {
    let endpoint = |member: &Uri| {
        let url = BrokerUrl::parse(&member.to_string()).map_err(|error| error.to_string())?;
        let broker = url.brokers.into_iter().next().filter(|_| url.failover.is_none());
        let mut broker = broker.ok_or_else(|| format!("{member} is no broker"))?;
        // Both sides may leave sizes out; this one always says them.
        broker.offer.size_prefix_disabled = false;
        Ok(broker)
    };
    let members = members.iter().map(endpoint).collect::<Result<Vec<_>, String>>()?;
    if members.is_empty() {
        return Err(format!("{shown} lists no broker"));
    }
    Ok(Group { shown, members })
}

impl Pace {
    fn read(&mut self, query: &[(String, String)]) -> Result<(), String> {
        let mut grows = true;
        for (name, value) in query {
            let wrong = || format!("`{value}` is no value for {name}");
            let ms = || value.parse().map(Duration::from_millis).map_err(|_| wrong());
            match name.as_str() {
                "initialReconnectDelay" => {
                    self.first = ms()?;
                    self.longest = self.longest.max(self.first);
                }
                "maxReconnectDelay" => self.longest = ms()?,
                "minConnectTime" => self.lived_min = ms()?,
                "useExponentialBackOff" => grows = value.parse().map_err(|_| wrong())?,
                "backOffMultiplier" => self.growth = value.parse().map_err(|_| wrong())?,
                "maxReconnectAttempts" => {
                    let rounds: i64 = value.parse().map_err(|_| wrong())?;
                    self.rounds_max = u32::try_from(rounds).ok().filter(|rounds| *rounds > 0);
                }
                // Of the failover list that masterslave: stands for: the order does not matter here.
                "randomize" | "group" | "transport" => {}
                _ => return Err(format!("unknown option `{name}`")),
            }
        }
        if !grows {
            self.growth = 1.0;
        }
        self.first = self.first.max(Duration::from_millis(1));
        self.longest = self.longest.max(self.first);
        Ok(())
    }

    /// The time to the round after one that came `pause` after the round before.
    pub fn after(&self, pause: Duration) -> Duration {
        pause.mul_f64(self.growth.clamp(1.0, 100.0)).clamp(self.first, self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Discovery, String> {
        Discovery::read(&Uri::parse(text).unwrap())
    }

    fn groups(text: &str) -> Vec<Vec<String>> {
        let groups = read(text).unwrap().groups.into_iter();
        groups.map(|group| group.members.iter().map(Endpoint::address).collect()).collect()
    }

    #[test]
    fn members_of_static_are_brokers_of_their_own_and_those_of_other_lists_one() {
        assert_eq!(groups("static:(tcp://a:1,tcp://b:2)"), [["tcp://a:1"], ["tcp://b:2"]]);
        assert_eq!(groups("static:tcp://a:1"), [["tcp://a:1"]]);
        for text in [
            "masterslave:(tcp://a:1,tcp://b:2)",
            "ha:(tcp://a:1,tcp://b:2)",
            "static:(failover:(tcp://a:1,tcp://b:2)?maxReconnectAttempts=0)",
            "failover:(tcp://a:1,tcp://b:2)",
        ] {
            assert_eq!(groups(text), [["tcp://a:1", "tcp://b:2"]], "{text}");
        }
        assert_eq!(groups("tcp://a:1?wireFormat.version=6"), [["tcp://a:1"]]);
    }

    #[test]
    fn the_pace_is_short_unless_said_otherwise() {
        let uri = "static:(tcp://a:1)?initialReconnectDelay=300&maxReconnectDelay=1000";
        let pace = read(uri).unwrap().pace;
        let pauses = [pace.first, pace.after(pace.first), pace.after(Duration::from_millis(600))];
        assert_eq!(pauses.map(|pause| pause.as_millis()), [300, 600, 1000]);
        let even = read("static:(tcp://a:1)?useExponentialBackOff=false").unwrap().pace;
        assert_eq!(even.after(even.first), even.first);
    }

    #[test]
    fn what_is_not_served_is_named() {
        for (text, word) in [
            ("masterslave:(tcp://a:1)", "two"),
            ("static:()", "no broker"),
            ("static:(ssl://a:1)", "ssl"),
            ("static:(tcp://a:1)?maxReconectDelay=1", "maxReconectDelay"),
            ("static:(tcp://a:1)?maxReconnectDelay=x", "`x`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
