/* rfc5155.h - the zone "example." of RFC 5155, appendix A, with its hashes; signatures are
 * not those. */
#ifndef TESTS_RFC5155_H
#define TESTS_RFC5155_H

#define SIG3(type) "  RRSIG " type " 5 1 3600 20400509183619 20040409183619 38519 example. AAAA\n"
#define N3 "NSEC3 1 1 12 aabbccdd "
static const char nsec3_zone[] =
	"$ORIGIN example.\n$TTL 3600\n"
	"@ SOA ns1 bugs.x.w 1 3600 300 3600000 3600\n" SIG3("SOA")
	"  NS ns1\n  NS ns2\n" SIG3("NS") "  MX 1 xx\n" SIG3("MX")
	"  NSEC3PARAM 1 0 12 aabbccdd\n" SIG3("NSEC3PARAM")
	"2t7b4g4vsa5smi47k61mv5bv1a22bojr A 192.0.2.127\n" SIG3("A")
	"a NS ns1.a\n NS ns2.a\n DS 58470 5 1 3079F1593EBAD6DC121E202A8B766A6A4837206C\n" SIG3("DS")
	"ns1.a A 192.0.2.5\nns2.a A 192.0.2.6\n"
	"ai A 192.0.2.9\n" SIG3("A")
	"c NS ns1.c\n NS ns2.c\nns1.c A 192.0.2.7\nns2.c A 192.0.2.8\n"
	"ns1 A 192.0.2.1\n" SIG3("A") "ns2 A 192.0.2.2\n" SIG3("A")
	"*.w MX 1 ai\n" SIG3("MX") "x.w MX 1 xx\n" SIG3("MX") "x.y.w MX 1 xx\n" SIG3("MX")
	"xx A 192.0.2.10\n" SIG3("A")
	"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom " N3 "2t7b4g4vsa5smi47k61mv5bv1a22bojr MX NS SOA RRSIG\n" SIG3("NSEC3")
	"2t7b4g4vsa5smi47k61mv5bv1a22bojr " N3 "2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG\n" SIG3("NSEC3")
	"2vptu5timamqttgl4luu9kg21e0aor3s " N3 "35mthgpgcu1qg68fab165klnsnk3dpvl MX RRSIG\n" SIG3("NSEC3")
	"35mthgpgcu1qg68fab165klnsnk3dpvl " N3 "b4um86eghhds6nea196smvmlo4ors995 NS DS RRSIG\n" SIG3("NSEC3")
	"b4um86eghhds6nea196smvmlo4ors995 " N3 "gjeqe526plbf1g8mklp59enfd789njgi MX RRSIG\n" SIG3("NSEC3")
	"gjeqe526plbf1g8mklp59enfd789njgi " N3 "ji6neoaepv8b5o6k4ev33abha8ht9fgc A RRSIG\n" SIG3("NSEC3")
	"ji6neoaepv8b5o6k4ev33abha8ht9fgc " N3 "k8udemvp1j2f7eg6jebps17vp3n8i58h\n" SIG3("NSEC3")
	"k8udemvp1j2f7eg6jebps17vp3n8i58h " N3 "kohar7mbb8dc2ce8a9qvl8hon4k53uhi\n" SIG3("NSEC3")
	"kohar7mbb8dc2ce8a9qvl8hon4k53uhi " N3 "q04jkcevqvmu85r014c7dkba38o0ji5r A RRSIG\n" SIG3("NSEC3")
	"q04jkcevqvmu85r014c7dkba38o0ji5r " N3 "r53bq7cc2uvmubfu5ocmm6pers9tk9en A RRSIG\n" SIG3("NSEC3")
	"r53bq7cc2uvmubfu5ocmm6pers9tk9en " N3 "t644ebqk9bibcna874givr6joj62mlhv MX RRSIG\n" SIG3("NSEC3")
	"t644ebqk9bibcna874givr6joj62mlhv " N3 "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom A RRSIG\n" SIG3("NSEC3");

#endif
