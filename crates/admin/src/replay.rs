//! Answers that are kept for a repeated request. One may hold the secret of a new key, so it is
//! sealed with what only the caller has: the secret it called with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::actor::Actor;
use crate::error::AdminError;

/// Seals `answer` for `actor`, bound to the idempotency key `name`.
pub(crate) fn sealed(actor: &Actor, name: &str, answer: &Value) -> Result<String, AdminError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|error| AdminError::internal(&error))?;
    let mut data = answer.to_string().into_bytes();
    key(actor)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(name.as_bytes()),
            &mut data,
        )
        .map_err(|error| AdminError::internal(&error))?;
    let mut whole = nonce.to_vec();
    whole.extend_from_slice(&data);
    Ok(STANDARD_NO_PAD.encode(whole))
}

/// Opens what [`sealed`] made. Another secret of the same actor cannot.
pub(crate) fn opened(actor: &Actor, name: &str, sealed: &str) -> Result<Value, AdminError> {
    let other_secret = || {
        AdminError::conflict(
            "idempotency_key_reused",
            "this `Idempotency-Key` was used with another secret; take a new one",
        )
    };
    let mut whole = STANDARD_NO_PAD.decode(sealed).map_err(|_| other_secret())?;
    if whole.len() < NONCE_LEN {
        return Err(other_secret());
    }
    let mut data = whole.split_off(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(&whole).map_err(|_| other_secret())?;
    let plain = key(actor)?
        .open_in_place(nonce, Aad::from(name.as_bytes()), &mut data)
        .map_err(|_| other_secret())?;
    serde_json::from_slice(plain).map_err(|error| AdminError::internal(&error))
}

fn key(actor: &Actor) -> Result<LessSafeKey, AdminError> {
    let key = UnboundKey::new(&AES_256_GCM, &actor.seal.0)
        .map_err(|error| AdminError::internal(&error))?;
    Ok(LessSafeKey::new(key))
}
