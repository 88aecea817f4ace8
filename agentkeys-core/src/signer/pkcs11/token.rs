//! The only module that speaks PKCS#11.

use std::mem;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::pool::{Device, Trouble};
use super::{By, KeyName, Named, Pkcs11Key, TokenName};
use crate::jose::PublicJwk;
use crate::secret::Secret;

/// A token, found by its name each time that a session is opened: it may have come back in another slot.
pub(super) struct Token {
    module: Pkcs11,
    name: TokenName,
    key: KeyName,
    pin: Secret,
}

impl Token {
    pub(super) fn load(key: Pkcs11Key, pin: Secret) -> Result<Self, Trouble> {
        let Pkcs11Key { module, token, key } = key;
        let module = Pkcs11::new(module).map_err(|_| Trouble::Unfit("the module cannot be loaded"))?;
        // never unloaded: a call may be under way, and a module has threads of its own
        mem::forget(module.clone());
        Ok(Self { module, name: token, key, pin })
    }

    /// The public key of the same name.
    pub(super) fn public(&self, session: &Opened) -> Result<PublicJwk, Trouble> {
        let (session, key) = (&session.session, self.one(&session.session, ObjectClass::PUBLIC_KEY)?);
        let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
        let found = session.get_attributes(key, &wanted)?;
        let (mut curve, mut point) = (None, None);
        for attribute in &found {
            match attribute {
                Attribute::EcParams(der) => curve = Some(der.as_slice()),
                Attribute::EcPoint(der) => point = Some(der.as_slice()),
                _ => {}
            }
        }
        public_key(curve, point)
    }

    fn slot(&self) -> Result<(Slot, TokenInfo), Trouble> {
        let mut found = None;
        for slot in self.module.get_slots_with_token()? {
            let info = match self.module.get_token_info(slot) {
                Ok(info) => info,
                Err(Error::Pkcs11(RvError::TokenNotPresent | RvError::TokenNotRecognized, _)) => continue,
                Err(error) => return Err(error.into()),
            };
            let same = match &self.name.0 {
                Named::Label(label) => info.label() == label,
                Named::Serial(serial) => info.serial_number() == serial,
            };
            if same && found.replace((slot, info)).is_some() {
                return Err(Trouble::Unfit("two tokens have this name"));
            }
        }
        found.ok_or_else(|| Trouble::away("no token has this name"))
    }

    fn log_in(&self, session: &Session, info: &TokenInfo) -> Result<(), Trouble> {
        if matches!(session.get_session_info()?.session_state(), SessionState::RoUser | SessionState::RwUser)
        {
            return Ok(());
        }
        if info.user_pin_locked() {
            return Err(Trouble::Pin("the PIN is locked"));
        }
        if info.user_pin_final_try() {
            return Err(Trouble::Pin("the PIN has one try left, which is a person's"));
        }
        let pin = AuthPin::new(self.pin.expose().as_str().into());
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(of_login(error)),
        }
    }

    /// The one object of this class that has the key's name.
    fn one(&self, session: &Session, class: ObjectClass) -> Result<ObjectHandle, Trouble> {
        let name = match &self.key.0 {
            By::Id(id) => Attribute::Id(id.clone()),
            By::Label(label) => Attribute::Label(label.clone().into_bytes()),
        };
        let kind = Attribute::KeyType(KeyType::EC);
        let template = [Attribute::Token(true), Attribute::Class(class), kind, name];
        match session.find_objects(&template)?.as_slice() {
            [one] => Ok(*one),
            [] if class == ObjectClass::PUBLIC_KEY => {
                Err(Trouble::Unfit("the token has no such public EC key"))
            }
            [] => Err(Trouble::Unfit("the token has no such private EC key")),
            _ => Err(Trouble::Unfit("two keys have this name")),
        }
    }
}

/// A session that is logged in, and the key as it is called there.
pub(super) struct Opened {
    session: Session,
    key: ObjectHandle,
}

impl Device for Token {
    type Session = Opened;

    fn open(&self) -> Result<Opened, Trouble> {
        match self.module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        let (slot, info) = self.slot()?;
        let session = self.module.open_ro_session(slot)?;
        self.log_in(&session, &info)?;
        let key = self.one(&session, ObjectClass::PRIVATE_KEY)?;
        let wanted = [
            AttributeType::Sign,
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::Private,
            AttributeType::AlwaysAuthenticate,
        ];
        fit(&session.get_attributes(key, &wanted)?)?;
        Ok(Opened { session, key })
    }

    fn sign(&self, session: &Opened, digest: [u8; 32]) -> Result<Vec<u8>, Trouble> {
        Ok(session.session.sign(&Mechanism::Ecdsa, session.key, &digest)?)
    }
}

/// What a private key must be. What the token does not say, it is not.
fn fit(said: &[Attribute]) -> Result<(), Trouble> {
    for (wanted, otherwise) in [
        (Attribute::Sign(true), "the key is not one that signs"),
        (Attribute::Sensitive(true), "the key can be read: it is not CKA_SENSITIVE"),
        (Attribute::Extractable(false), "the key can be copied out: it is CKA_EXTRACTABLE"),
        (Attribute::Private(true), "the key is of use without the PIN: it is not CKA_PRIVATE"),
    ] {
        if !said.contains(&wanted) {
            return Err(Trouble::Unfit(otherwise));
        }
    }
    if said.contains(&Attribute::AlwaysAuthenticate(true)) {
        return Err(Trouble::Unfit("the key wants a PIN for each signature"));
    }
    Ok(())
}

/// A P-256 key from what its object says: the name of the curve, and the point as a DER OCTET STRING.
fn public_key(curve: Option<&[u8]>, point: Option<&[u8]>) -> Result<PublicJwk, Trouble> {
    if curve != Some(PRIME256V1) {
        return Err(Trouble::Unfit("the key is not of P-256"));
    }
    let point = point.and_then(|der| der.strip_prefix(OCTET_STRING_OF_65));
    let jwk = point.map(PublicJwk::from_sec1_point);
    jwk.and_then(Result::ok).ok_or(Trouble::Unfit("the public key is no point of P-256"))
}

/// What a login failed with: most of the reasons say that the PIN must not be tried again.
fn of_login(error: Error) -> Trouble {
    let Error::Pkcs11(code, _) = &error else { return error.into() };
    match code {
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
            Trouble::Pin("the token refuses the PIN")
        }
        RvError::PinExpired => Trouble::Pin("the PIN has to be changed"),
        RvError::PinLocked => Trouble::Pin("the PIN is locked"),
        RvError::UserPinNotInitialized => Trouble::Pin("the token has no PIN yet"),
        _ => error.into(),
    }
}

impl From<Error> for Trouble {
    /// Its text is a function's and a code's name.
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(RvError::MechanismInvalid | RvError::KeyFunctionNotPermitted, _) => {
                Self::Unfit("the token does not sign with this key and CKM_ECDSA")
            }
            error => Self::Away(Box::new(error)),
        }
    }
}

/// The DER of the OID 1.2.840.10045.3.1.7 (<https://www.rfc-editor.org/rfc/rfc5480#section-2.1.1.1>).
const PRIME256V1: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// The DER header of an OCTET STRING of the size of an uncompressed point.
const OCTET_STRING_OF_65: &[u8] = &[0x04, 65];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;
    use crate::signer::{LocalSigner, SignError, TokenSigner as _};
    use cryptoki::context::Function;

    #[test]
    fn r45_r46_a_key_that_can_be_had_or_used_without_the_pin_is_refused() {
        let good = vec![
            Attribute::Sign(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Private(true),
        ];
        fit(&good).unwrap();
        fit(&[&good[..], &[Attribute::AlwaysAuthenticate(false)]].concat()).unwrap();
        let refused = |said: &[Attribute]| match fit(said) {
            Err(Trouble::Unfit(what)) => what,
            other => panic!("{other:?}"),
        };
        for (at, other, word) in [
            (0, Attribute::Sign(false), "signs"),
            (1, Attribute::Sensitive(false), "CKA_SENSITIVE"),
            (2, Attribute::Extractable(true), "CKA_EXTRACTABLE"),
            (3, Attribute::Private(false), "CKA_PRIVATE"),
        ] {
            let mut said = good.clone();
            said[at] = other;
            assert!(refused(&said).contains(word), "{word}");
            said.remove(at);
            assert!(refused(&said).contains(word), "{word}: the token does not say");
        }
        assert!(
            refused(&[&good[..], &[Attribute::AlwaysAuthenticate(true)]].concat()).contains("each signature")
        );
        refused(&[]);
    }

    #[test]
    fn r45_a_public_key_is_a_point_of_p256_in_its_one_form() {
        let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let jwk = serde_json::to_value(signer.public_jwk()).unwrap();
        let coordinate = |name: &str| crate::jose::decode_segment(jwk[name].as_str().unwrap()).unwrap();
        let point = [vec![0x04], coordinate("x"), coordinate("y")].concat();
        let der = [OCTET_STRING_OF_65, &point].concat();
        assert_eq!(public_key(Some(PRIME256V1), Some(&der)).unwrap(), *signer.public_jwk());

        let p384 = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
        let secp256k1 = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
        let by_name = [&[0x13, 10][..], b"prime256v1"].concat();
        for curve in [None, Some(&p384[..]), Some(&secp256k1), Some(&by_name), Some(&[])] {
            assert!(matches!(public_key(curve, Some(&der)), Err(Trouble::Unfit("the key is not of P-256"))));
        }
        let compressed = [&[0x04, 33, 0x02][..], &coordinate("x")].concat();
        let mut off_the_curve = der.clone();
        off_the_curve[66] ^= 1;
        let behind = [&der[..], &[0]].concat();
        let infinity = [0x04, 1, 0];
        for point in [&point[..], &der[..66], &behind, &compressed, &off_the_curve, &infinity, &[]] {
            assert!(public_key(Some(PRIME256V1), Some(point)).is_err(), "{point:x?}");
        }
        assert!(public_key(Some(PRIME256V1), None).is_err());
    }

    #[test]
    fn r45_what_a_login_fails_with_decides_whether_the_pin_is_tried_again() {
        let failed = |code| of_login(Error::Pkcs11(code, Function::Login));
        for code in [
            RvError::PinIncorrect,
            RvError::PinInvalid,
            RvError::PinLenRange,
            RvError::PinExpired,
            RvError::PinLocked,
            RvError::UserPinNotInitialized,
        ] {
            let shown = format!("{code:?}");
            assert!(matches!(failed(code), Trouble::Pin(_)), "{shown}");
        }
        for code in
            [RvError::DeviceRemoved, RvError::TokenNotPresent, RvError::DeviceError, RvError::GeneralError]
        {
            let shown = format!("{code:?}");
            assert!(matches!(failed(code), Trouble::Away(_)), "{shown}");
        }
        assert!(matches!(SignError::from(of_login(Error::NotSupported)), SignError::Unavailable(_)));
        for code in [RvError::MechanismInvalid, RvError::KeyFunctionNotPermitted] {
            assert!(matches!(Trouble::from(Error::Pkcs11(code, Function::SignInit)), Trouble::Unfit(_)));
        }
    }
}
