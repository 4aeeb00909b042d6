//! A struct of settings whose defaults stand beside their fields.

/// Declares a struct where every field has its default after `=`; `Default` gives all of them.
macro_rules! options {
    ($(
        $(#[$on_struct:meta])*
        pub struct $name:ident {
            $($(#[$on_field:meta])* $field:ident: $kind:ty = $default:expr,)*
        }
    )+) => {$(
        $(#[$on_struct])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$on_field])* pub $field: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    )+};
}

pub(crate) use options;
