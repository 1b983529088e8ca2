"""ID tokens, verified by joserfc and Authlib with nothing but the discovery document.

`SCOPEGATE_DEV` holds the issuer, the client id, the algorithm, the nonce and the token response. The first thing that is not so
ends it with a failure.
"""

import json
import os

import requests
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

GIVEN = json.loads(os.environ["SCOPEGATE_DEV"])
TOKENS, ALGORITHM = GIVEN["tokens"], GIVEN["algorithm"]
TIMEOUT = 5


def main():
    metadata = requests.get(f"{GIVEN['issuer']}/.well-known/openid-configuration", timeout=TIMEOUT).json()
    assert metadata["issuer"] == GIVEN["issuer"], metadata
    assert metadata["id_token_signing_alg_values_supported"] == [ALGORITHM], metadata
    keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=TIMEOUT).json())
    token = jwt.decode(TOKENS["id_token"], keys, algorithms=[ALGORITHM])
    thumbprints = [key.thumbprint() for key in keys.keys]
    assert token.header["kid"] in thumbprints, f"{token.header} is not among {thumbprints}"
    claims = CodeIDToken(
        token.claims,
        token.header,
        options={"iss": {"essential": True, "value": GIVEN["issuer"]}, "aud": {"value": GIVEN["client_id"]}},
        params={"nonce": GIVEN["nonce"], "client_id": GIVEN["client_id"], "access_token": TOKENS["access_token"]},
    )
    claims.validate(leeway=60)
    header, payload, signature = TOKENS["id_token"].split(".")
    forged = f"{header}.{payload}.{signature[:-8]}{'A' * 8}"
    try:
        jwt.decode(forged, keys, algorithms=[ALGORITHM])
    except BadSignatureError:
        print(f"{ALGORITHM}: verified, and the forged one refused")
    else:
        raise AssertionError("a forged signature was taken")
    user = requests.get(
        metadata["userinfo_endpoint"], headers={"authorization": f"Bearer {TOKENS['access_token']}"}, timeout=TIMEOUT
    ).json()
    assert user["sub"] == token.claims["sub"], user


if __name__ == "__main__":
    main()
