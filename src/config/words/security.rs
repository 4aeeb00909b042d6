//! Who may connect and what they may do: authentication, authorization, `<sslContext>`.

use super::destination::{Patterned, entry, lacks};
use super::standing::{JVM, SECURITY, SERVED};
use crate::base::secret::Secret;
use crate::config::Config;
use crate::config::element::Element;
use crate::config::value;
use crate::config::vocabulary::{Attribute, Reading, Words, child, known, opaque, rule, set, with};
use crate::security::options::{
    Authentication, AuthorizationMap, JaasAuthentication, JaasKind, Rights, SecurityOptions,
    SimpleAuthentication, TlsContext, User,
};

pub(super) fn simple(to: &mut Config, from: &Element, reading: &mut Reading) {
    let mut simple = SimpleAuthentication::default();
    reading.fill(&SIMPLE_AUTHENTICATION, from, &mut simple);
    to.security.authentication.push(Authentication::Simple(simple));
}

pub(super) fn jaas(to: &mut Config, from: &Element, reading: &mut Reading) {
    read_jaas(JaasKind::Password, to, from, reading);
}

pub(super) fn jaas_certificate(to: &mut Config, from: &Element, reading: &mut Reading) {
    read_jaas(JaasKind::Certificate, to, from, reading);
}

pub(super) fn jaas_dual(to: &mut Config, from: &Element, reading: &mut Reading) {
    read_jaas(JaasKind::Dual, to, from, reading);
}

fn read_jaas(kind: JaasKind, to: &mut Config, from: &Element, reading: &mut Reading) {
    let mut jaas = JaasAuthentication { kind, ..JaasAuthentication::default() };
    reading.fill(&JAAS_AUTHENTICATION, from, &mut jaas);
    to.security.authentication.push(Authentication::Jaas(jaas));
}

pub(super) static SIMPLE_AUTHENTICATION: Words<SimpleAuthentication> = Words {
    element: "simpleAuthenticationPlugin",
    attributes: &[
        set!("anonymousAccessAllowed", value::boolean => anonymous_access_allowed, SERVED),
        set!("anonymousUser", value::text => anonymous_user, SERVED),
        set!("anonymousGroup", value::text => anonymous_group, SERVED),
    ],
    children: &[child!("users", USERS => users, SERVED)],
};

pub(super) static USERS: Words<Vec<User>> = Words {
    element: "users",
    attributes: &[],
    children: &[rule!("authenticationUser", SERVED, |to, from, reading| {
        let mut user = Draft::default();
        reading.fill(&AUTHENTICATION_USER, from, &mut user);
        match user {
            Draft { username: Some(username), password: Some(password), groups } => {
                to.push(User { username, password, groups });
            }
            Draft { .. } => lacks(from, "a `username` or a `password`", reading),
        }
    })],
};

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Draft {
    username: Option<String>,
    password: Option<Secret>,
    groups: Vec<String>,
}

pub(super) static AUTHENTICATION_USER: Words<Draft> = Words {
    element: "authenticationUser",
    attributes: &[
        set!("username", value::text => username, SERVED),
        set!("password", value::secret => password, SERVED),
        set!("groups", value::list => groups, SERVED),
    ],
    children: &[],
};

pub(super) static JAAS_AUTHENTICATION: Words<JaasAuthentication> = Words {
    element: "jaasAuthenticationPlugin",
    attributes: &[
        set!("configuration", value::text => configuration, SERVED),
        set!("sslConfiguration", value::text => ssl_configuration, SERVED),
        set!("discoverLoginConfig", value::boolean => discover_login_config, SERVED),
    ],
    children: &[],
};

pub(super) static AUTHORIZATION_PLUGIN: Words<SecurityOptions> = Words {
    element: "authorizationPlugin",
    attributes: &[],
    children: &[child!("map", AUTHORIZATION_HOLDER, SERVED)],
};

pub(super) static AUTHORIZATION_HOLDER: Words<SecurityOptions> = Words {
    element: "map",
    attributes: &[],
    children: &[
        rule!("authorizationMap", SERVED, |to, from, reading| {
            let mut map = AuthorizationMap::default();
            reading.fill(&AUTHORIZATION_MAP, from, &mut map);
            to.authorization = Some(map);
        }),
        opaque!("cachedLDAPAuthorizationMap", SECURITY),
        opaque!("lDAPAuthorizationMap", SECURITY),
        opaque!("simpleAuthorizationMap", SECURITY),
    ],
};

pub(super) static AUTHORIZATION_MAP: Words<AuthorizationMap> = Words {
    element: "authorizationMap",
    attributes: &[known!("groupClass", value::text, JVM)],
    children: &[
        child!("authorizationEntries", AUTHORIZATION_ENTRIES, SERVED),
        child!("entries", AUTHORIZATION_ENTRIES, SERVED),
        rule!("defaultEntry", SERVED, |to, from, reading| {
            let mut entry = Patterned::default();
            reading.fill(&RIGHTS_HOLDER, from, &mut entry);
            to.default_entry = Some(entry.value);
        }),
        rule!("tempDestinationAuthorizationEntry", SERVED, |to, from, reading| {
            let mut entry = Patterned::default();
            reading.fill(&RIGHTS_HOLDER, from, &mut entry);
            to.temporary = Some(entry.value);
        }),
    ],
};

pub(super) static RIGHTS_HOLDER: Words<Patterned<Rights>> = Words {
    element: "defaultEntry",
    attributes: &[],
    children: &[
        child!("authorizationEntry", AUTHORIZATION_ENTRY, SECURITY),
        child!("tempDestinationAuthorizationEntry", AUTHORIZATION_ENTRY, SERVED),
    ],
};

pub(super) static AUTHORIZATION_ENTRIES: Words<AuthorizationMap> = Words {
    element: "authorizationEntries",
    attributes: &[],
    children: &[rule!("authorizationEntry", SECURITY, |to, from, reading| {
        entry(&AUTHORIZATION_ENTRY, &mut to.entries, from, reading);
    })],
};

pub(super) static AUTHORIZATION_ENTRY: Words<Patterned<Rights>> = Words {
    element: "authorizationEntry",
    attributes: &[
        Patterned::QUEUE,
        Patterned::TOPIC,
        Patterned::TEMP_QUEUE,
        Patterned::TEMP_TOPIC,
        set!("read", value::list => value.read, SERVED),
        set!("write", value::list => value.write, SERVED),
        set!("admin", value::list => value.admin, SERVED),
        known!("groupClass", value::text, JVM),
    ],
    children: &[Patterned::DESTINATION],
};

/// The property of `<broker>` and of `<networkConnector>`, around the element of the same name.
pub(super) static TLS_HOLDER: Words<Option<TlsContext>> = Words {
    element: "sslContext",
    attributes: &[],
    children: &[rule!("sslContext", SERVED, |to, from, reading| {
        let mut context = TlsContext::default();
        reading.fill(&SSL_CONTEXT, from, &mut context);
        *to = Some(context);
    })],
};

const TLS_ATTRIBUTES: &[Attribute<TlsContext>] = &[
    set!("keyStore", value::path => key_store, SERVED),
    set!("keyStorePassword", value::secret => key_store_password, SERVED),
    set!("keyStoreKeyPassword", value::secret => key_store_key_password, SERVED),
    set!("keyStoreType", value::text => key_store_type, SERVED),
    set!("trustStore", value::path => trust_store, SERVED),
    set!("trustStorePassword", value::secret => trust_store_password, SERVED),
    set!("trustStoreType", value::text => trust_store_type, SERVED),
    set!("crlPath", value::path => crl_path, SERVED),
    set!("protocol", value::text => protocol, SERVED),
    known!("provider", value::text, JVM),
    known!("keyStoreAlgorithm", value::text, JVM),
    known!("trustStoreAlgorithm", value::text, JVM),
    known!("secureRandomAlgorithm", value::text, JVM),
    with!("secureRandom", JVM, |_, _| Ok(())),
];

pub(super) static SSL_CONTEXT: Words<TlsContext> =
    Words { element: "sslContext", attributes: TLS_ATTRIBUTES, children: &[] };
