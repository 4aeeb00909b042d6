//! What `jetty.xml` says of the console.

use super::document::descendants;
use super::element::Element;
use super::error::Fault;
use super::notice::Weight;
use super::value;
use super::vocabulary::{Attribute, Reading, Standing, Words, set};
use crate::web::options::WebOptions;

/// Packages whose beans make up the console; one notice speaks for all of them.
const OF_CONSOLE: [&str; 4] = [
    "org.eclipse.jetty.",
    "org.mortbay.jetty.",
    "org.apache.activemq.web.",
    "org.springframework.",
];

pub(super) const CONSOLE: Standing = Standing::NotServed("there is no console and no HTTP port");

const PORT: &[Attribute<WebOptions>] = &[
    set!("host", value::text => host, Standing::Served),
    set!("port", value::port => port, Standing::Served),
];

const REALM: &[Attribute<WebOptions>] = &[
    set!("name", value::text => realm, Standing::Served),
    set!("config", value::path => realm_file, Standing::Served),
];

/// The bean with the console's address.
pub(super) static WEB_CONSOLE_PORT: Words<WebOptions> =
    Words { element: "bean class=\"…WebConsolePort\"", attributes: PORT, children: &[] };

/// The bean with the console's users.
pub(super) static HASH_LOGIN_SERVICE: Words<WebOptions> =
    Words { element: "bean class=\"…HashLoginService\"", attributes: REALM, children: &[] };

/// Reads the beans beside the broker; `None` when they make no console.
pub(super) fn read(beans: &[Element], reading: &mut Reading) -> Option<WebOptions> {
    let mut web = None;
    for bean in beans {
        let class = bean.attribute("class").map_or("", |class| class.value.as_str());
        if class.ends_with(".WebConsolePort") {
            reading.say(CONSOLE, "the console of this bean".to_owned(), &bean.at);
            fill(&WEB_CONSOLE_PORT, bean, web.get_or_insert_default(), reading);
        } else if class.ends_with(".HashLoginService") {
            fill(&HASH_LOGIN_SERVICE, bean, web.get_or_insert_default(), reading);
        } else if class.ends_with(".Constraint") {
            authentication(bean, web.get_or_insert_default(), reading);
        } else if !OF_CONSOLE.iter().any(|package| class.starts_with(package)) {
            let word = format!("<bean class=\"{class}\">");
            let why = "Java classes are not loaded".to_owned();
            reading.notice(Weight::NoEffect, word, why, &bean.at);
        }
    }
    if let Some(web) = &mut web {
        overridden(web, reading);
    }
    web
}

fn fill(words: &Words<WebOptions>, bean: &Element, web: &mut WebOptions, reading: &mut Reading) {
    let known = |property: &&Element| {
        let name = property.attribute("name").map_or("", |name| name.value.as_str());
        words.attributes.iter().any(|row| row.name == name)
    };
    // Other properties of these classes concern Jetty.
    let children: Vec<_> = bean.children.iter().filter(known).cloned().collect();
    reading.fill(words, &Element { children, ..bean.clone() }, web);
}

/// A console that asks nobody for a password says so in one of its constraints.
fn authentication(bean: &Element, web: &mut WebOptions, reading: &mut Reading) {
    let named = |e: &&Element| e.attribute("name").is_some_and(|name| name.value == "authenticate");
    let Some(property) = descendants(bean).find(named) else { return };
    let Some(written) = property.attribute("value") else { return };
    let Some(text) = reading.resolve(&written.value, &written.at) else { return };
    match value::boolean(&text) {
        Ok(on) => web.authenticate &= on,
        Err(expected) => reading.faults.push(Fault::Value {
            at: written.at.clone(),
            word: "`authenticate`".to_owned(),
            value: text,
            expected: expected.0.into_owned(),
        }),
    }
}

/// `-Djetty.port` and `-Djetty.host` win over the file, as in ActiveMQ.
fn overridden(web: &mut WebOptions, reading: &mut Reading) {
    if let Some(host) = reading.properties.system.get("jetty.host").filter(|host| !host.is_empty())
    {
        web.host.clone_from(host);
    }
    let Some(text) = reading.properties.system.get("jetty.port").cloned() else { return };
    match value::port(&text) {
        Ok(port) => web.port = port,
        Err(expected) => reading.faults.push(Fault::Value {
            at: super::place::Place::whole(std::path::Path::new("-Djetty.port")),
            word: "the console's port".to_owned(),
            value: text,
            expected: expected.0.into_owned(),
        }),
    }
}
