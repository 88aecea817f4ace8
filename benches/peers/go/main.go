// golang-jwt. Verifies all tokens once to warm up and then in five rounds; the median counts.
package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

type given struct {
	Issuer   string
	Audience string
	Jwks     struct{ Keys []map[string]any }
	Cases    map[string]struct {
		Alg    string
		Tokens []string
	}
}

type claims struct {
	jwt.RegisteredClaims
	Tags struct {
		PrincipalTags     map[string][]string `json:"principal_tags"`
		TransitiveTagKeys []string            `json:"transitive_tag_keys"`
	} `json:"https://aws.amazon.com/tags"`
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func key(jwk map[string]any) any {
	member := func(name string) []byte {
		return must(base64.RawURLEncoding.DecodeString(jwk[name].(string)))
	}
	number := func(name string) *big.Int { return new(big.Int).SetBytes(member(name)) }
	switch {
	case jwk["crv"] == "P-256":
		return &ecdsa.PublicKey{Curve: elliptic.P256(), X: number("x"), Y: number("y")}
	case jwk["crv"] == "Ed25519":
		return ed25519.PublicKey(member("x"))
	case jwk["kty"] == "RSA":
		return &rsa.PublicKey{N: number("n"), E: int(number("e").Int64())}
	}
	return nil
}

func main() {
	var all given
	if err := json.Unmarshal(must(os.ReadFile(os.Args[1])), &all); err != nil {
		panic(err)
	}
	keys := map[string]any{}
	for _, jwk := range all.Jwks.Keys {
		keys[jwk["kid"].(string)] = key(jwk)
	}
	version := "?"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			version = module.Version
		}
	}
	for _, name := range []string{"eddsa", "es256", "rs256"} {
		tokens := all.Cases[name].Tokens
		parser := jwt.NewParser(jwt.WithValidMethods([]string{all.Cases[name].Alg}), jwt.WithIssuer(all.Issuer),
			jwt.WithAudience(all.Audience), jwt.WithExpirationRequired())
		find := func(token *jwt.Token) (any, error) { return keys[token.Header["kid"].(string)], nil }
		var rounds []float64
		for round := 0; round <= 5; round++ {
			begin := time.Now()
			for _, token := range tokens {
				var read claims
				if parsed, err := parser.ParseWithClaims(token, &read, find); err != nil || !parsed.Valid {
					panic(fmt.Sprint(name, err))
				}
			}
			elapsed := float64(time.Since(begin).Nanoseconds()) / float64(len(tokens))
			if round > 0 {
				rounds = append(rounds, elapsed)
			}
		}
		sort.Float64s(rounds)
		ns := int64(rounds[2])
		line := map[string]any{
			"bench": "peers", "case": name, "peer": "golang-jwt " + version, "runtime": "Go " + runtime.Version()[2:],
			"ns": ns, "ops_per_s": 1_000_000_000 / ns, "tokens": len(tokens),
		}
		fmt.Println(string(must(json.Marshal(line))))
	}
}
