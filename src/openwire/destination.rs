//! Destination names: kinds, composites, wildcards, the owner of a temporary one.
//!
//! A name is a path of parts between dots. In a pattern `*` stands for one part and a final `>` for
//! one or more; commas separate the members of a composite.

use std::fmt;

use super::{Destination, DestinationKind, Text};

/// What all advisory topics begin with.
pub const ADVISORY_PREFIX: &str = "ActiveMQ.Advisory.";

impl DestinationKind {
    /// The prefix with which ActiveMQ writes this kind.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Queue => "queue://",
            Self::Topic => "topic://",
            Self::TempQueue => "temp-queue://",
            Self::TempTopic => "temp-topic://",
        }
    }

    pub fn is_queue(self) -> bool {
        matches!(self, Self::Queue | Self::TempQueue)
    }

    pub fn is_topic(self) -> bool {
        !self.is_queue()
    }

    pub fn is_temporary(self) -> bool {
        matches!(self, Self::TempQueue | Self::TempTopic)
    }
}

impl Destination {
    pub fn new(class: DestinationKind, name: &str) -> Self {
        Self { class, physical_name: Some(name.into()) }
    }

    pub fn queue(name: &str) -> Self {
        Self::new(DestinationKind::Queue, name)
    }

    pub fn topic(name: &str) -> Self {
        Self::new(DestinationKind::Topic, name)
    }

    /// Reads `queue://A`, `topic://A`, `temp-queue://A`, `temp-topic://A`; a bare name is of kind
    /// `otherwise`.
    pub fn parse(text: &str, otherwise: DestinationKind) -> Self {
        let text = text.trim();
        let kinds = [
            DestinationKind::Queue,
            DestinationKind::Topic,
            DestinationKind::TempQueue,
            DestinationKind::TempTopic,
        ];
        for kind in kinds {
            if let Some(name) = text.strip_prefix(kind.prefix()) {
                return Self::new(kind, name);
            }
        }
        Self::new(otherwise, text)
    }

    /// The physical name; empty where the wire had none.
    pub fn name(&self) -> std::borrow::Cow<'_, str> {
        self.physical_name.as_ref().map_or(std::borrow::Cow::Borrowed(""), Text::to_str)
    }

    fn name_bytes(&self) -> &[u8] {
        self.physical_name.as_ref().map_or(&[], Text::as_bytes)
    }

    pub fn is_queue(&self) -> bool {
        self.class.is_queue()
    }

    pub fn is_topic(&self) -> bool {
        self.class.is_topic()
    }

    pub fn is_temporary(&self) -> bool {
        self.class.is_temporary()
    }

    pub fn is_composite(&self) -> bool {
        self.name_bytes().contains(&b',')
    }

    /// Whether the name is a pattern: a part is `*`, or the last part is `>`.
    pub fn is_pattern(&self) -> bool {
        self.name_bytes().split(|byte| *byte == b'.').any(|part| matches!(part, b"*" | b">"))
    }

    pub fn is_advisory(&self) -> bool {
        self.class == DestinationKind::Topic
            && self.name_bytes().starts_with(ADVISORY_PREFIX.as_bytes())
    }

    /// The members of a composite, each of the composite's kind unless it has a prefix of its own; a
    /// plain destination is its own only member.
    pub fn members(&self) -> Vec<Self> {
        let name = self.name();
        let parts = name.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| Self::parse(part, self.class)).collect()
    }

    /// Whether `name`, which is no pattern, is of this pattern's kind and fits it.
    pub fn matches(&self, name: &Self) -> bool {
        self.class == name.class && pattern_matches(self.name_bytes(), name.name_bytes())
    }

    /// Whether some name fits both, where each may be a pattern or a name.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.class == other.class && patterns_overlap(self.name_bytes(), other.name_bytes())
    }

    /// For a temporary destination: the connection that created it, which is all before the last
    /// colon of the name.
    pub fn temporary_owner(&self) -> Option<String> {
        let name = self.name();
        let owner = self.is_temporary().then(|| name.rsplit_once(':')).flatten();
        owner.map(|(owner, _)| owner.to_owned())
    }
}

impl fmt::Display for Destination {
    /// As ActiveMQ prints it: with its prefix, unless it is composite.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.is_composite() { "" } else { self.class.prefix() };
        write!(f, "{prefix}{}", self.name())
    }
}

/// Whether `name` fits `pattern`. `*` takes one part; `>` takes the rest, which for ActiveMQ may also
/// be nothing: `A.>` matches `A`.
pub fn pattern_matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut names = name.split(|byte| *byte == b'.');
    for part in pattern.split(|byte| *byte == b'.') {
        match (part, names.next()) {
            (b">", _) => return true,
            (b"*", Some(_)) => {}
            (part, Some(name)) if part == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// Whether some name fits both patterns.
fn patterns_overlap(one: &[u8], other: &[u8]) -> bool {
    let mut others = other.split(|byte| *byte == b'.');
    for part in one.split(|byte| *byte == b'.') {
        match (part, others.next()) {
            (b">", _) | (_, Some(b">")) => return true,
            (b"*", Some(_)) | (_, Some(b"*")) => {}
            (part, Some(other)) if part == other => {}
            _ => return false,
        }
    }
    matches!(others.next(), None | Some(b">"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Destination::queue(pattern).matches(&Destination::queue(name))
    }

    #[test]
    fn a_star_takes_one_part_and_a_greater_than_the_rest() {
        assert!(matches("A.*", "A.B") && matches("*.B", "A.B") && matches("A.*.C", "A.B.C"));
        assert!(matches("A.>", "A.B.C") && matches(">", "A") && matches("A.>", "A"));
        assert!(!matches("A.*", "A.B.C") && !matches("A.*", "A") && !matches("A.B", "A.C"));
        assert!(!matches("A.*", "B.A"));
    }

    #[test]
    fn patterns_overlap_where_a_name_fits_both() {
        let overlap = |a: &str, b: &str| Destination::queue(a).overlaps(&Destination::queue(b));
        assert!(overlap("C.*.V.X", "C.A.V.>") && overlap("C.*.V.X", "C.A.V.*"));
        assert!(overlap("C.*.V.X", "C.A.V.X") && overlap("A", "A.>") && overlap(">", "A.B"));
        assert!(!overlap("C.*.V.X", "C.A.V.Y") && !overlap("C.*.V.X", "C.A.V.X.Y"));
        assert!(!overlap("C.*.V.X", "C.A.W.>") && !overlap("A.B", "A"));
    }

    #[test]
    fn a_pattern_fits_its_own_kind_only() {
        assert!(!Destination::topic(">").matches(&Destination::queue("A")));
    }

    #[test]
    fn members_take_the_kind_of_the_composite_unless_they_say_otherwise() {
        let members = Destination::queue("A, topic://B,queue://C").members();
        let shown: Vec<_> = members.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["queue://A", "topic://B", "queue://C"]);
    }

    #[test]
    fn the_owner_of_a_temporary_queue_is_read_off_its_name() {
        let temp = Destination::new(DestinationKind::TempQueue, "ID:h-1-2-3:1:7");
        assert_eq!(temp.temporary_owner().as_deref(), Some("ID:h-1-2-3:1"));
        assert_eq!(Destination::queue("ID:x:1").temporary_owner(), None);
    }
}
