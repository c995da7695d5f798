package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// WithTLS starts a server that speaks TLS alone, and wants the certificate of its client. Its
// URL names the files.
func WithTLS(t testing.TB) *Server {
	t.Helper()
	need(t)
	cert, key := certificate(t)
	s := &Server{
		t: t, program: "redis-server", secure: true,
		args: append(inMemory(t), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert),
		cli:  []string{"--tls", "--cacert", cert, "--cert", cert, "--key", key},
	}
	if err := s.tryToBegin(); err != nil {
		if strings.Contains(err.Error(), "tls-port") {
			t.Skip("this redis-server was built without TLS")
		}
		t.Fatal(err)
	}
	s.URL = "rediss://" + s.Addr + "/0?ca_file=" + cert + "&cert_file=" + cert + "&key_file=" + key
	return s
}

// certificate writes a certificate for 127.0.0.1 that is signed by its own key.
func certificate(t testing.TB) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, of, of, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}))),
		write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}
