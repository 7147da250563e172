//! Reading JSON objects whose unknown members are kept instead of refused or lost.

/// Declares a struct of optional members that also keeps, as text and in order, every member it
/// does not know.
///
/// Serde's own `flatten` cannot do this: it buffers values in a form that loses their text.
/// A `null` counts as absent; a known member that comes twice is refused, because which of the
/// two a provider would take cannot be known.
macro_rules! open_object {
    (
        $(#[$meta:meta])*
        $name:ident { $($field:ident : $type:ty = $member:literal),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $(pub(crate) $field: Option<$type>,)*
            /// Members that are not listed here.
            pub(crate) extra: Vec<(String, chat::Json)>,
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;

                impl<'de> serde::de::Visitor<'de> for Members {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str("an object")
                    }

                    fn visit_map<M: serde::de::MapAccess<'de>>(
                        self,
                        mut map: M,
                    ) -> Result<$name, M::Error> {
                        let mut object = $name::default();
                        while let Some(key) = map.next_key::<String>()? {
                            match key.as_str() {
                                $($member => {
                                    if object.$field.is_some() {
                                        return Err(serde::de::Error::duplicate_field($member));
                                    }
                                    object.$field = map.next_value()?;
                                })*
                                _ => {
                                    let value = map.next_value()?;
                                    object.extra.push((key, value));
                                }
                            }
                        }
                        Ok(object)
                    }
                }

                deserializer.deserialize_map(Members)
            }
        }
    };
}

/// Declares an enum for a member that is either a string or an array, which serde's `untagged`
/// cannot read where the array holds JSON kept as text.
macro_rules! text_or_list {
    ($(#[$meta:meta])* $name:ident, $item:ty, $expecting:literal) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) enum $name {
            /// A plain string.
            Text(String),
            /// An array.
            List(Vec<$item>),
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;

                impl<'de> serde::de::Visitor<'de> for Either {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        Ok($name::Text(text.to_owned()))
                    }

                    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<$name, E> {
                        Ok($name::Text(text))
                    }

                    fn visit_seq<S: serde::de::SeqAccess<'de>>(
                        self,
                        mut items: S,
                    ) -> Result<$name, S::Error> {
                        let mut list = Vec::new();
                        while let Some(item) = items.next_element()? {
                            list.push(item);
                        }
                        Ok($name::List(list))
                    }
                }

                deserializer.deserialize_any(Either)
            }
        }
    };
}

pub(crate) use {open_object, text_or_list};
