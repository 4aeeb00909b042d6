//! A configuration file with its imports: where its broker is, its beans and its properties.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Config;
use super::element::{self, Attribute, Element, Namespace};
use super::environment::Environment;
use super::error::{Fault, Hint};
use super::notice::Weight;
use super::place::Place;
use super::placeholder::Properties;
use super::properties;
use super::source::Source;
use super::vocabulary::Reading;
use super::web;
use super::words::broker::BROKER;
use crate::base::uri::Uri;

/// Longest file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 8 << 20;
/// Most files of one configuration.
pub(super) const FILES_MAX: usize = 32;

/// ActiveMQ's elements that may stand beside a broker and do nothing for it.
const BESIDE_BROKER: [&str; 7] = [
    "connectionFactory",
    "xaConnectionFactory",
    "pooledConnectionFactory",
    "commandAgent",
    "queue",
    "topic",
    "redeliveryPolicy",
];

/// A configuration whose files are read and whose words are not.
#[derive(Debug)]
pub(super) struct Document {
    reading: Reading,
    broker: Option<Element>,
    /// Top-level beans of all files, but for those that hold properties.
    beans: Vec<Element>,
    members: Vec<Uri>,
    whole: Place,
}

/// Reads the files that `source` names, down to the elements.
pub(super) fn open(source: &Source, environment: &Environment) -> Result<Document, Fault> {
    match source {
        Source::File(path) => {
            let file = located(path, environment);
            let mut files = Files::new(&file, environment);
            files.read(&file)?;
            files.finish(&file)
        }
        Source::Broker { text, members, query } => {
            let whole = Place::whole(Path::new(text));
            let properties = properties_for(None, environment);
            let reading = Reading::new(properties, environment.strict);
            let broker = Some(broker_of(query, &whole));
            Ok(Document { reading, broker, beans: Vec::new(), members: members.clone(), whole })
        }
    }
}

/// A relative path that is not here may be in the directory of configurations.
fn located(path: &Path, environment: &Environment) -> PathBuf {
    if path.exists() || path.is_absolute() {
        return path.to_owned();
    }
    let known = environment.system_properties(None);
    let there = known.get("activemq.conf").map(|conf| Path::new(conf).join(path));
    there.filter(|there| there.exists()).unwrap_or_else(|| path.to_owned())
}

fn broker_of(query: &[(String, String)], at: &Place) -> Element {
    let option = |(name, value): &(String, String)| Attribute {
        name: name.clone(),
        value: value.clone(),
        at: at.clone(),
    };
    Element {
        namespace: Namespace::Core,
        name: "broker".to_owned(),
        attributes: query.iter().map(option).collect(),
        children: Vec::new(),
        text: String::new(),
        at: at.clone(),
    }
}

fn properties_for(file: Option<&Path>, environment: &Environment) -> Properties {
    Properties {
        system: environment.system_properties(file),
        variables: environment.variables.clone(),
        password: environment.variable("ACTIVEMQ_ENCRYPTION_PASSWORD").map(str::to_owned),
        ..Properties::default()
    }
}

impl Document {
    /// Reads every word.
    pub(super) fn read_into(self, config: &mut Config) -> Reading {
        let Self { mut reading, broker, beans, members, whole } = self;
        if let Some(broker) = &broker {
            reading.fill(&BROKER, broker, config);
            super::finish::store(config, &mut reading);
        }
        for member in &members {
            super::connector::read_member(member, config, &whole, &mut reading);
        }
        config.web = web::read(&beans, &mut reading);
        reading
    }
}

/// The files of one configuration while they are being read.
struct Files<'e> {
    environment: &'e Environment,
    reading: Reading,
    brokers: Vec<Element>,
    beans: Vec<Element>,
    seen: Vec<PathBuf>,
}

impl<'e> Files<'e> {
    fn new(file: &Path, environment: &'e Environment) -> Self {
        let properties = properties_for(Some(file), environment);
        let reading = Reading::new(properties, environment.strict);
        Self { environment, reading, brokers: Vec::new(), beans: Vec::new(), seen: Vec::new() }
    }

    fn finish(mut self, file: &Path) -> Result<Document, Fault> {
        let mut brokers = self.brokers.into_iter();
        let broker = brokers.next();
        match (&broker, brokers.next()) {
            (Some(first), Some(second)) => {
                let first = first.at.clone();
                self.reading.faults.push(Fault::TwoBrokers { at: second.at, first });
            }
            (Some(_), None) => {}
            (None, _) if !self.reading.faults.is_empty() => {}
            (None, _) => self.reading.faults.push(Fault::NoBroker { file: file.to_owned() }),
        }
        let whole = Place::whole(file);
        Ok(Document {
            reading: self.reading,
            broker,
            beans: self.beans,
            members: Vec::new(),
            whole,
        })
    }

    fn read(&mut self, file: &Path) -> Result<(), Fault> {
        let unreadable = |reason: String| Fault::Read { file: file.to_owned(), reason };
        let text = text_of(file).map_err(unreadable)?;
        self.seen.push(canonical(file));
        let root = element::parse(file, &text)?;
        if root.is_core("broker") {
            self.brokers.push(root);
        } else if root.is_beans("beans") {
            self.beans_of(&root, file);
        } else {
            let known = ["beans", "broker"];
            self.reading.faults.push(Fault::UnknownElement {
                at: root.at.clone(),
                hint: Hint::nearest(&root.name, known),
                element: root.name,
                parent: file.to_string_lossy().into_owned(),
            });
        }
        Ok(())
    }

    fn beans_of(&mut self, root: &Element, file: &Path) {
        // Properties first: they count for the whole file, wherever they stand.
        for element in &root.children {
            self.password(element);
        }
        for element in &root.children {
            self.placeholders(element, file);
        }
        for element in &root.children {
            if element.is_core("broker") {
                self.brokers.push(element.clone());
            } else if element.is_beans("beans") {
                self.beans_of(element, file);
            } else if element.is_beans("import") {
                self.import(element, file);
            } else if element.is_beans("bean") {
                self.bean(element);
            } else {
                self.other(element, root);
            }
        }
    }

    fn bean(&mut self, bean: &Element) {
        self.remember(bean);
        let class = bean.attribute("class").map_or("", |class| class.value.as_str());
        if !is_configurer(bean) && !class.starts_with("org.jasypt.") {
            self.beans.push(bean.clone());
        }
    }

    fn remember(&mut self, element: &Element) {
        if let Some(id) = element.attribute("id") {
            self.reading.beans.push((id.value.clone(), element.clone()));
        }
    }

    /// What stands beside a broker and is neither bean nor import.
    fn other(&mut self, element: &Element, root: &Element) {
        let word = format!("<{}>", element.name);
        self.remember(element);
        match &element.namespace {
            Namespace::Other(uri) if uri == CONTEXT && element.name == "property-placeholder" => {}
            Namespace::Other(uri) => {
                let text = format!("elements of {uri} are not read");
                self.reading.notice(Weight::NotServed, word, text, &element.at);
            }
            _ if element.is_beans("description") || element.is_beans("alias") => {}
            Namespace::Core if BESIDE_BROKER.contains(&element.name.as_str()) => {
                let text = "it is a part of clients, not of the broker".to_owned();
                self.reading.notice(Weight::NoEffect, word, text, &element.at);
            }
            Namespace::Core if element.attribute("id").is_some() => {}
            Namespace::Core | Namespace::Beans | Namespace::Bare => {
                let known = ["broker", "bean", "import"].into_iter().chain(BESIDE_BROKER);
                self.reading.faults.push(Fault::UnknownElement {
                    at: element.at.clone(),
                    element: element.name.clone(),
                    parent: root.name.clone(),
                    hint: Hint::nearest(&element.name, known),
                });
            }
        }
    }

    fn import(&mut self, import: &Element, file: &Path) {
        let Some(resource) = import.attribute("resource") else {
            let (at, element) = (import.at.clone(), "import".to_owned());
            return self.reading.faults.push(Fault::Lacks {
                at,
                element,
                what: "a `resource`".to_owned(),
            });
        };
        let at = &resource.at;
        let Some(name) = self.reading.resolve(&resource.value, at) else { return };
        let path = self.resource(&name, file);
        if self.seen.contains(&canonical(&path)) {
            return;
        }
        if self.seen.len() >= FILES_MAX {
            let what = format!("more than {FILES_MAX} files");
            return self.reading.faults.push(Fault::TooLarge { at: at.clone(), what });
        }
        match self.read(&path) {
            Ok(()) => {}
            Err(Fault::Read { file, reason }) => self.reading.faults.push(Fault::Import {
                at: at.clone(),
                resource: name,
                file,
                reason,
            }),
            Err(fault) => self.reading.faults.push(fault),
        }
    }

    /// Where a resource lies: beside the file that names it, or in the directory of configurations.
    fn resource(&self, name: &str, file: &Path) -> PathBuf {
        let in_conf = |name: &str| {
            let conf = self.reading.properties.system.get("activemq.conf");
            Path::new(conf.map_or(".", String::as_str)).join(name.trim_start_matches('/'))
        };
        let beside = |name: &str| file.parent().unwrap_or_else(|| Path::new("")).join(name);
        let class_path =
            name.strip_prefix("classpath*:").or_else(|| name.strip_prefix("classpath:"));
        if let Some(name) = class_path {
            let there = beside(name.trim_start_matches('/'));
            return if there.exists() { there } else { in_conf(name) };
        }
        match name.strip_prefix("file:") {
            Some(path) => {
                let path = Path::new(path.strip_prefix("//").unwrap_or(path));
                let elsewhere = beside(&path.to_string_lossy());
                if !path.exists() && elsewhere.exists() { elsewhere } else { path.to_owned() }
            }
            None => beside(name),
        }
    }

    /// Takes the password that opens `ENC(…)` from the beans of the encryptor.
    fn password(&mut self, bean: &Element) {
        let class = bean.attribute("class").map_or("", |class| class.value.as_str());
        if !bean.is_beans("bean") || !class.starts_with("org.jasypt.") {
            return;
        }
        for property in descendants(bean) {
            let name = property.attribute("name").map(|name| name.value.as_str());
            let Some(value) = property.attribute("value").map(|value| value.value.as_str()) else {
                continue;
            };
            let password = match name {
                Some("password") => Some(value),
                Some("passwordEnvName") => self.environment.variable(value),
                _ => None,
            };
            if let Some(password) = password {
                self.reading.properties.password = Some(password.to_owned());
            }
        }
    }

    /// Reads the properties files that a configurer names.
    fn placeholders(&mut self, element: &Element, file: &Path) {
        let mut configurer = Configurer::default();
        if element.is_beans("bean") && is_configurer(element) {
            for property in &element.children {
                configurer.property(property);
            }
        } else if element.namespace == Namespace::Other(CONTEXT.to_owned())
            && element.name == "property-placeholder"
        {
            configurer.context(element);
        } else {
            return;
        }
        let properties = &mut self.reading.properties;
        properties.system_first |= configurer.system_first;
        properties.keep_unresolved |= configurer.keep_unresolved;
        properties.files.extend(configurer.own);
        for (location, at) in &configurer.locations {
            self.properties_file(location, at, file, configurer.missing_is_fine);
        }
    }

    fn properties_file(&mut self, location: &str, at: &Place, file: &Path, missing_is_fine: bool) {
        let Some(location) = self.reading.resolve(location, at) else { return };
        let path = self.resource(&location, file);
        match text_of(&path) {
            Ok(text) => self.reading.properties.files.extend(properties::parse(&text)),
            Err(_) if missing_is_fine => {}
            Err(reason) => {
                let fault = Fault::Properties { at: at.clone(), file: path, reason };
                self.reading.faults.push(fault);
            }
        }
    }
}

const CONTEXT: &str = "http://www.springframework.org/schema/context";

/// What a bean that fills placeholders asks for.
#[derive(Debug, Default)]
struct Configurer {
    locations: Vec<(String, Place)>,
    own: BTreeMap<String, String>,
    system_first: bool,
    keep_unresolved: bool,
    missing_is_fine: bool,
}

impl Configurer {
    fn property(&mut self, property: &Element) {
        let name = property.attribute("name").map_or("", |name| name.value.as_str());
        let value = property.attribute("value").map(|value| value.value.as_str());
        let is_true = value.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        match name {
            "location" | "locations" => {
                let written = property.attribute("value");
                self.locate(written.map(|value| (value.value.as_str(), &value.at)));
                self.values(property);
            }
            "properties" => {
                for entry in descendants(property).filter(|entry| entry.name == "prop") {
                    let key = entry.attribute("key").map(|key| key.value.clone());
                    self.own.insert(key.unwrap_or_default(), entry.text.clone());
                }
                self.own.extend(properties::parse(&property.text));
            }
            "systemPropertiesModeName" => {
                self.system_first = value == Some("SYSTEM_PROPERTIES_MODE_OVERRIDE");
            }
            "systemPropertiesMode" => self.system_first = value == Some("2"),
            "ignoreUnresolvablePlaceholders" => self.keep_unresolved = is_true,
            "ignoreResourceNotFound" => self.missing_is_fine = is_true,
            _ => {}
        }
    }

    fn context(&mut self, element: &Element) {
        let is_true = |name: &str| element.attribute(name).is_some_and(|a| a.value == "true");
        let location = element.attribute("location");
        self.locate(location.map(|location| (location.value.as_str(), &location.at)));
        self.keep_unresolved = is_true("ignore-unresolvable");
        self.missing_is_fine = is_true("ignore-resource-not-found");
        self.system_first =
            element.attribute("system-properties-mode").is_some_and(|a| a.value == "OVERRIDE");
    }

    fn values(&mut self, property: &Element) {
        for value in descendants(property).filter(|inner| inner.name == "value") {
            self.locate(Some((&value.text, &value.at)));
        }
    }

    /// One or more locations, commas between.
    fn locate(&mut self, written: Option<(&str, &Place)>) {
        let Some((text, at)) = written else { return };
        let each = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        self.locations.extend(each.map(|one| (one.to_owned(), at.clone())));
    }
}

fn is_configurer(bean: &Element) -> bool {
    let class = bean.attribute("class").map_or("", |class| class.value.as_str());
    class.ends_with("PropertyPlaceholderConfigurer")
        || class.ends_with("PropertySourcesPlaceholderConfigurer")
}

/// All elements inside, at any depth.
pub(super) fn descendants(element: &Element) -> impl Iterator<Item = &Element> {
    let mut waiting: Vec<_> = element.children.iter().rev().collect();
    std::iter::from_fn(move || {
        let next = waiting.pop()?;
        waiting.extend(next.children.iter().rev());
        Some(next)
    })
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_missing| path.to_owned())
}

/// The text of a file, UTF-8 or, where its first line says so, ISO-8859-1.
fn text_of(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
    }
    let start = String::from_utf8_lossy(bytes.get(..100).unwrap_or(&bytes)).to_ascii_lowercase();
    if start.starts_with("<?xml") && start.contains("iso-8859-1") {
        return Ok(bytes.iter().map(|byte| char::from(*byte)).collect());
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| format!("it is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
