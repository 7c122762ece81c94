/* test_master.c - units: words, rdata, master files, zones.  Expected octets of
 * the table of types come from BIND's named-compilezone -F raw. */
#include "hub/zone.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- what is said, and what is read, as text ---- */

struct said { char text[8192]; size_t n; unsigned errors, warnings; };

static void hear(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	struct said *s = ctx;
	const char *slash = file ? strrchr(file, '/') : NULL;
	int n = snprintf(s->text + s->n, sizeof s->text - s->n, "%s %s:%u: %s; ", error ? "error" : "warning",
	                 slash ? slash + 1 : file ? file : "-", line, text);
	if (n > 0 && s->n + (size_t)n < sizeof s->text)
		s->n += (size_t)n;
	if (error)
		s->errors++;
	else
		s->warnings++;
}

struct out { char text[1 << 16]; size_t n; uint64_t records; };

static const char *write_rr(void *ctx, const struct master_rr *rr)
{
	struct out *o = ctx;
	char owner[NAME_TEXT_MAX], buf[12];
	o->records++;
	if (o->n + 1500 > sizeof o->text)
		return NULL;
	o->n += (size_t)sprintf(o->text + o->n, "%s %u %s ", name_text(rr->owner, owner), rr->ttl,
	                        rr_type_text(rr->type, buf));
	for (unsigned i = 0; i < rr->len && i < 128; i++)
		o->n += (size_t)sprintf(o->text + o->n, "%02x", rr->rdata[i]);
	o->n += (size_t)sprintf(o->text + o->n, "\n");
	return NULL;
}

static const uint8_t *example(void) { return (const uint8_t *)"\7example"; }

static int read_text(const char *text, size_t n, struct out *o, struct said *s)
{
	struct zone_report report = { hear, s, NULL };
	struct master_sink sink = { write_rr, o, &report };
	memset(o, 0, sizeof *o);
	memset(s, 0, sizeof *s);
	return master_read_text(text, n, "t", example(), &sink);
}

/* ---- rdata ---- */

static const struct { uint16_t type; const char *text, *hex; } types[] = {
	{ T_A, "192.0.2.1",
	  "c0000201" },
	{ T_AAAA, "2001:db8::1",
	  "20010db8000000000000000000000001" },
	{ T_AAAA, "::ffff:192.0.2.1",
	  "00000000000000000000ffffc0000201" },
	{ T_CNAME, "Target.Example.",
	  "06546172676574074578616d706c6500" },
	{ T_DNAME, "other.example.org.",
	  "056f74686572076578616d706c65036f726700" },
	{ T_PTR, "host\\.dot.example.",
	  "08686f73742e646f74076578616d706c6500" },
	{ T_MX, "10 mail",
	  "000a046d61696c076578616d706c6500" },
	{ T_TXT, "\"a b\" c\\032d \"\" \"q\\\"uote\" \"semi;colon\" \\255",
	  "036120620363206400067122756f74650a73656d693b636f6c6f6e01ff" },
	{ T_SPF, "\"v=spf1 -all\"",
	  "0b763d73706631202d616c6c" },
	{ T_HINFO, "\"PC Intel\" Linux",
	  "08504320496e74656c054c696e7578" },
	{ T_RP, "mbox txt.example.",
	  "046d626f78076578616d706c650003747874076578616d706c6500" },
	{ T_AFSDB, "1 afs",
	  "000103616673076578616d706c6500" },
	{ T_LOC, "42 21 54.123 N 71 06 18 W -24m 30m",
	  "0033161389172e4b70be15f000988d20" },
	{ T_LOC, "52 N 4 E 0",
	  "001216138b28720080dbba0000989680" },
	{ T_LOC, "90 S 180 W 42849672.95 90000000.00m 0.00m 1234.56m",
	  "009900156cb0270059604e00ffffffff" },
	{ T_LOC, "1 2 N 3 4 5.5 E 10.5m 1 2 3",
	  "001222328038c34080a88a7c00989a9a" },
	{ T_SRV, "0 5 5060 sip",
	  "0000000513c403736970076578616d706c6500" },
	{ T_NAPTR, "100 50 \"s\" \"z3950+I2L+I2C\" \"\" _z3950._tcp.gatech.edu.",
	  "0064003201730d7a333935302b49324c2b49324300065f7a33393530045f746370066761746563680365647500" },
	{ T_CERT, "PGP 65534 DSA AQID",
	  "0003fffe03010203" },
	{ T_CERT, "4 1 RSASHA256 AQIDBA==",
	  "000400010801020304" },
	{ T_NS, "elsewhere.net.",
	  "09656c73657768657265036e657400" },
	{ T_DS, "60485 5 1 ( 2BB183AF5F22588179A53B0A 98631FAD1A292118 )",
	  "ec4505012bb183af5f22588179a53b0a98631fad1a292118" },
	{ T_DS, "12345 ECDSAP256SHA256 2 3A8FC5C57B0F2B9C5D0B9A3B4B5D1F1A0C2D3E4F5061728394A5B6C7D8E9FA0B",
	  "30390d023a8fc5c57b0f2b9c5d0b9a3b4b5d1f1a0c2d3e4f5061728394a5b6c7d8e9fa0b" },
	{ T_CDS, "0 0 0 00",
	  "0000000000" },
	{ T_CDNSKEY, "0 3 0 AA==",
	  "0000030000" },
	{ T_DNSKEY, "257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==",
	  "0101030d1a88c88615d437fbb8bf9e1942a1929f28562706ae6c2bd399e7b1bfb6d1e9e75b92b4aa42917ae1c61b701ef035c3fe7be3009cbafe5a2f71316c902dcf0d00" },
	{ T_RRSIG, "A 8 2 3600 20300101000000 1577836800 12345 example. AQIDBAUGBwg=",
	  "0001080200000e1070dbd8805e0be1003039076578616d706c65000102030405060708" },
	{ T_A, "1.2.3.4",
	  "01020304" },
	{ T_NSEC, "a.example. A NS TYPE1234 CAA TYPE65534",
	  "0161076578616d706c6500000160010140041b000000000000000000000000000000000000000000000000000020ff200000000000000000000000000000000000000000000000000000000000000002" },
	{ T_SSHFP, "2 1 123456789abcdef67890123456789abcdef67890",
	  "0201123456789abcdef67890123456789abcdef67890" },
	{ T_TLSA, "3 1 1 0C72AC70B745AC19998811B131D662C9AC69DBDBE7CB23E5B514B566 64C5D3D6",
	  "0301010c72ac70b745ac19998811b131d662c9ac69dbdbe7cb23e5b514b56664c5d3d6" },
	{ T_SMIMEA, "3 0 0 AABB",
	  "030000aabb" },
	{ T_OPENPGPKEY, "AQID BAUG Bw==",
	  "01020304050607" },
	{ T_CAA, "0 issue \"ca.example.net; policy=ev\"",
	  "0005697373756563612e6578616d706c652e6e65743b20706f6c6963793d6576" },
	{ T_CAA, "128 TBS Unknown",
	  "8003544253556e6b6e6f776e" },
	{ T_URI, "10 1 \"ftp://ftp1.example.com/public\"",
	  "000a00016674703a2f2f667470312e6578616d706c652e636f6d2f7075626c6963" },
	{ T_SVCB, "0 foo.example.com.",
	  "000003666f6f076578616d706c6503636f6d00" },
	{ T_SVCB, "1 .",
	  "000100" },
	{ T_SVCB, "16 foo.example.com. port=53",
	  "001003666f6f076578616d706c6503636f6d00000300020035" },
	{ T_SVCB, "1 foo.example.com. key667=hello",
	  "000103666f6f076578616d706c6503636f6d00029b000568656c6c6f" },
	{ T_SVCB, "1 foo.example.com. key667=\"hello\\210qoo\"",
	  "000103666f6f076578616d706c6503636f6d00029b000968656c6c6fd2716f6f" },
	{ T_SVCB, "1 foo.example.com. ipv6hint=\"2001:db8::1,2001:db8::53:1\"",
	  "000103666f6f076578616d706c6503636f6d000006002020010db800000000000000000000000120010db8000000000000000000530001" },
	{ T_SVCB, "16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1",
	  "001003666f6f076578616d706c65036f7267000000000400010004000100090268320568332d313900040004c0000201" },
	{ T_SVCB, "17 foo.example.org. alpn=\"f\\\\\\\\oo\\\\,bar,h2\"",
	  "001103666f6f076578616d706c65036f7267000001000c08665c6f6f2c626172026832" },
	{ T_SVCB, "18 foo.example.org. alpn=f\\\\\\092oo\\092,bar,h2",
	  "001203666f6f076578616d706c65036f7267000001000c08665c6f6f2c626172026832" },
	{ T_HTTPS, "1 . alpn=h2 no-default-alpn ech=\"AQIDBA==\" port=\"443\" key7=\"/dns-query{?dns}\"",
	  "00010000010003026832000200000003000201bb0005000401020304000700102f646e732d71756572797b3f646e737d" },
	{ T_CSYNC, "66 3 A NS AAAA",
	  "000000420003000460000008" },
	{ T_ZONEMD, "2024010101 1 240 00112233445566778899aabbccdd",
	  "78a3f17501f000112233445566778899aabbccdd" },
	{ T_EUI48, "00-00-5e-00-53-2a",
	  "00005e00532a" },
	{ T_EUI64, "00-00-5e-ef-10-00-00-2A",
	  "00005eef1000002a" },
	{ T_APL, "1:192.168.32.0/21 !1:192.168.38.0/28 2:FF00:0:0::/8 1:0.0.0.0/0",
	  "00011503c0a82000011c83c0a82600020801ff00010000" },
	{ T_DHCID, "( AAIBY2/AuCccgoJbsaxcQc9TUapptP69l OjxfNuVAA2kjEA= )",
	  "000201636fc0b8271c82825bb1ac5c41cf5351aa69b4febd94e8f17cdb95000da48c40" },
	{ T_IPSECKEY, "10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
	  "0a0102c0000226010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801" },
	{ T_IPSECKEY, "10 0 2 . AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
	  "0a0002010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801" },
	{ T_IPSECKEY, "10 3 2 mygateway.example.com. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
	  "0a0302096d7967617465776179076578616d706c6503636f6d00010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801" },
	{ T_IPSECKEY, "10 2 2 2001:0DB8:0:8002::2000:1 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
	  "0a020220010db8000080020000000020000001010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801" },
	{ T_KEY, "512 3 3 AQIDBA==",
	  "0200030301020304" },
	{ T_RT, "10 relay",
	  "000a0572656c6179076578616d706c6500" },
	{ T_KX, "10 kx",
	  "000a026b78076578616d706c6500" },
	{ T_MB, "mb",
	  "026d62076578616d706c6500" },
	{ T_MG, "mg",
	  "026d67076578616d706c6500" },
	{ T_MR, "mr",
	  "026d72076578616d706c6500" },
	{ T_MINFO, "r e",
	  "0172076578616d706c65000165076578616d706c6500" },
	{ 65280, "\\# 5 01 02030405",
	  "0102030405" },
	{ T_A, "\\# 4 01020304",
	  "01020304" },
	{ T_PX, "10 a b",
	  "000a0161076578616d706c65000162076578616d706c6500" },
	{ T_NSEC3PARAM, "1 0 12 aabbccdd",
	  "0100000c04aabbccdd" },
	{ T_TXT, "\\# 3 026869",
	  "026869" },
	{ T_NSEC3, "1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG",
	  "0101000c04aabbccdd1417f3df17b2b2adaef615257de4d2020b80ac6c7c0006400000000002" },
	{ T_NSEC3, "1 1 0 - 2vptu5timamqttgl4luu9kg21e0aor3s",
	  "01010000001417f3df17b2b2adaef615257de4d2020b80ac6c7c" },
	{ T_A, "1.2.3.4",
	  "01020304" },
	{ T_A, "1.2.3.4",
	  "01020304" },
	{ T_A, "1.2.3.4",
	  "01020304" },
	{ T_SVCB, "1 . mandatory=key7,port port=1 dohpath=/q{?dns} tls-supported-groups=29,23 ohttp alpn=x",
	  "000100000000040003000700010002017800030002000100070008"
	  "2f717b3f646e737d0008000000090004001d0017" },
	{ T_RRSIG, "NSEC3 RSASHA256 2 1h 4294967295 0 1 @ AA ==",
	  "0032080200000e10ffffffff000000000001076578616d706c650000" },
	{ T_DS, "1 RSASHA256 SHA-256 0000000000000000000000000000000000000000000000000000000000000000",
	  "000108020000000000000000000000000000000000000000000000000000000000000000" },
	{ T_APL, "", "" },
	{ T_APL, "\\# 0", "" },
	{ 65535, "\\# 0", "" },
	{ T_TXT, "\"\\# 0\"", "03232030" },
	{ T_NS, "@", "076578616d706c6500" },
	{ T_NS, ".", "00" },
	{ T_NS, "\\@", "0140076578616d706c6500" },
	{ T_NS, "a\\.b\\046c.\\065", "05612e622e630141076578616d706c6500" },
	/* rare ones; UNECE, ISO, CLA and IPN, which BIND does not know, as NSD has them */
	{ T_MD, "md",
	  "026d64076578616d706c6500" },
	{ T_MF, "mf.example.",
	  "026d66076578616d706c6500" },
	{ T_NULL, "\\# 3 010203",
	  "010203" },
	{ T_NULL, "\\# 0",
	  "" },
	{ T_WKS, "192.0.2.1 TCP 25",
	  "c00002010600000040" },
	{ T_WKS, "192.0.2.1 UDP domain ntp",
	  "c00002011100000000000004000000000000000010" },
	{ T_WKS, "192.0.2.1 17",
	  "c000020111" },
	{ T_WKS, "10.0.0.1 6 ( ftp telnet smtp time domain )",
	  "0a0000010600000540040004" },
	{ T_WKS, "10.0.0.1 tcp smtp http https pop3 nntp sunrpc finger",
	  "0a00000106000000400000000000018000000301000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000010" },
	{ T_WKS, "10.0.0.1 255 7",
	  "0a000001ff01" },
	{ T_X25, "311061700956",
	  "0c333131303631373030393536" },
	{ T_X25, "\"3110\"",
	  "0433313130" },
	{ T_ISDN, "150862028003217",
	  "0f313530383632303238303033323137" },
	{ T_ISDN, "\"150862028003217\" 004",
	  "0f31353038363230323830303332313703303034" },
	{ T_ISDN, "\"\" \"\"",
	  "0000" },
	{ T_NSAP, "0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00",
	  "47000580005a0000000001e133ffffff00016100" },
	{ T_NSAP, "0x47000580005A0000000001E133FFFFFF00016100",
	  "47000580005a0000000001e133ffffff00016100" },
	{ T_NSAP, "0xAb",
	  "ab" },
	{ T_NSAP_PTR, "Foo.bar.",
	  "03466f6f0362617200" },
	{ T_SIG, "NXT 1 3 3600 19960102030405 19951211100908 21435 Foo.tld. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
	  "001e010300000e1030e8a0a530cc034453bb03466f6f03746c64000103515"
	  "37986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801" },
	{ T_SIG, "A 5 1 4294967295 4294967295 0 65535 . AQ==",
	  "00010501ffffffffffffffff00000000ffff0001" },
	{ T_KEY, "512 3 3 AQIDBA==",
	  "0200030301020304" },
	{ T_KEY, "49152 3 3",
	  "c0000303" },
	{ T_KEY, "NOKEY NONE 5",
	  "c0000005" },
	{ T_KEY, "USER|ZONE DNSSEC RSASHA1 AQID",
	  "01000305010203" },
	{ T_KEY, "HOST|SIG15 IPSEC DSA AQ ID BA ==",
	  "020f040301020304" },
	{ T_KEY, "NOCONF|HOST 3 3 AQID",
	  "42000303010203" },
	{ T_KEY, "NOAUTH|EXTEND|FLAG2|FLAG4|FLAG5|FLAG8|FLAG9|FLAG10|FLAG11|NTYP3|SIG1 ALL 255 AQID",
	  "bff1ffff010203" },
	{ T_KEY, "NOCONF|USER|SIG0 TLS 1 AQID",
	  "40000101010203" },
	{ T_KEY, "ZONE|KSK EMAIL DH AQID",
	  "01010202010203" },
	{ T_KEY, "\\# 4 c0000303",
	  "c0000303" },
	{ T_GPOS, "-32.6882 116.8652 10.0",
	  "082d33322e36383832083131362e383635320431302e30" },
	{ T_GPOS, "\"-32.6882\" \"116.8652\" \"10.0\"",
	  "082d33322e36383832083131362e383635320431302e30" },
	{ T_NXT, "Medium.foo.tld. A MX SIG NXT",
	  "064d656469756d03666f6f03746c640040010082" },
	{ T_NXT, "a TYPE127",
	  "0161076578616d706c650000000000000000000000000000000001" },
	{ T_NXT, "a. A TYPE1 MX",
	  "0161004001" },
	{ T_NXT, "a.",
	  "016100" },
	{ T_EID, "813F 4B7C DAB3 4217",
	  "813f4b7cdab34217" },
	{ T_EID, "00",
	  "00" },
	{ T_NIMLOC, "( 3227 45 0A 01 00 34 )",
	  "3227450a010034" },
	{ T_ATMA, "39.246f.00.0e7c9c.0312.0001.0001.000012345678.00",
	  "0039246f000e7c9c03120001000100001234567800" },
	{ T_ATMA, "39246F000E7C9C031200010001000012345678FF",
	  "0039246f000e7c9c031200010001000012345678ff" },
	{ T_ATMA, "+1.908.555.1212",
	  "013139303835353531323132" },
	{ T_ATMA, "+61200000000",
	  "013631323030303030303030" },
	{ T_A6, "0 2345:00C1:CA11:0001:1234:5678:9ABC:DEF1",
	  "00234500c1ca110001123456789abcdef1" },
	{ T_A6, "64 0:0:0:0:1234:5678:9abc:def1 Subnet-1.ip6.example.",
	  "40123456789abcdef1085375626e65742d3103697036076578616d706c6500" },
	{ T_A6, "128 Net.example.",
	  "80034e6574076578616d706c6500" },
	{ T_A6, "61 ::6:1234:5678:9abc:def1 x",
	  "3d06123456789abcdef10178076578616d706c6500" },
	{ T_A6, "60 ffff::ffff x",
	  "3c00000000000000ffff0178076578616d706c6500" },
	{ T_A6, "127 ::1 x",
	  "7f010178076578616d706c6500" },
	{ T_A6, "1 7fff:: x",
	  "017fff00000000000000000000000000000178076578616d706c6500" },
	{ T_SINK, "1 2 3 AQID",
	  "010203010203" },
	{ T_SINK, "255 0 255",
	  "ff00ff" },
	{ T_NSEC, ". WKS X25 ISDN RT NSAP NSAP-PTR SIG KEY PX GPOS NXT EID NIMLOC ATMA KX A6 DNAME SINK",
	  "00000600101ff3ab80" },
	{ T_NSEC, ". HIP NINFO RKEY TALINK CDS CDNSKEY CSYNC NID L32 L64 LP EUI48 EUI64",
	  "00000e00000000000001fa0000000000fc" },
	{ T_NSEC, ". AVC DOA AMTRELAY TA DLV",
	  "000101388001c0" },
	{ T_NSEC, ". DSYNC RESINFO WALLET",
	  "000009000000000000000020010106" },
	{ T_NSEC, ". UINFO UID GID UNSPEC",
	  "00000d0000000000000000000000000f" },
	{ T_NSEC, ". HHIT BRID",
	  "000009000000000000000018" },
	{ T_NSEC, ". CLA IPN",
	  "0001020180" },
	{ T_NSEC, ". NXNAME",
	  "0000110000000000000000000000000000000080" },
	{ T_DNSKEY, "ZONE|KSK DNSSEC ED448 AQID",
	  "01010310010203" },
	{ T_HIP, "2 200100107B1A74DF365639CC39F1D578 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
	  "10020022200100107b1a74df365639cc39f1d578010351537986ed"
	  "35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801" },
	{ T_HIP, "( 2 200100107B1A74DF365639CC39F1D578 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ== Rvs1.example.com. rvs2 )",
	  "10020022200100107b1a74df365639cc39f1d578010351537986ed35533b6064478eeeb27b5bd74dae149b"
	  "6e81ba3a0521af82ab78010452767331076578616d706c6503636f6d000472767332076578616d706c6500" },
	{ T_HIP, "0 00 AA==",
	  "010000010000" },
	{ T_NINFO, "\"a\" b",
	  "01610162" },
	{ T_RKEY, "0 1 8 AQID",
	  "00000108010203" },
	{ T_RKEY, "65535 255 255 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
	  "ffffffff010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801" },
	{ T_TALINK, "h0.Example.com. h2",
	  "026830074578616d706c6503636f6d00026832076578616d706c6500" },
	{ T_TALINK, ". .",
	  "0000" },
	{ T_DSYNC, "CDS NOTIFY 5359 Cds-scanner.example.net.",
	  "003b0114ef0b4364732d7363616e6e6572076578616d706c65036e657400" },
	{ T_DSYNC, "TYPE65535 255 65535 .",
	  "ffffffffff00" },
	{ T_DSYNC, "CSYNC 1 0 x",
	  "003e0100000178076578616d706c6500" },
	{ T_HHIT, "gxJpM2Zm OCAwMDBh",
	  "831269336666382030303061" },
	{ T_BRID, "owAAAYIE UQEgAQA/",
	  "a3000001820451012001003f" },
	{ T_UNECE, "16 - JPTYO \"place of inspection\"",
	  "02313600054a5054594f706c616365206f6620696e7370656374696f6e" },
	{ T_UNECE, "20 12500 MTQ \"reservoir volume\"",
	  "023230053132353030034d54517265736572766f697220766f6c756d65" },
	{ T_ISO, "4217 125000 USD \"declared cargo value\"",
	  "043432313706313235303030035553446465636c6172656420636172676f2076616c7565" },
	{ T_UINFO, "\\# 2 0102",
	  "0102" },
	{ T_UID, "\\# 4 00000001",
	  "00000001" },
	{ T_GID, "\\# 0",
	  "" },
	{ T_UNSPEC, "\\# 1 ff",
	  "ff" },
	{ T_NID, "10 0014:4fff:ff20:ee64",
	  "000a00144fffff20ee64" },
	{ T_NID, "65535 0:1:A:ffFF",
	  "ffff00000001000affff" },
	{ T_L32, "10 10.1.2.0",
	  "000a0a010200" },
	{ T_L64, "10 2001:0DB8:1140:1000",
	  "000a20010db811401000" },
	{ T_L64, "0 0:0:0:0",
	  "00000000000000000000" },
	{ T_LP, "10 L64-subnet1.example.com.",
	  "000a0b4c36342d7375626e657431076578616d706c6503636f6d00" },
	{ T_LP, "0 .",
	  "000000" },
	{ T_AVC, "\"app-name:WOLFGANG|app-class:OAM\"",
	  "1f6170702d6e616d653a574f4c4647414e477c6170702d636c6173733a4f414d" },
	{ T_AVC, "a b",
	  "01610162" },
	{ T_DOA, "0 1 2 \"\" bWFpbHRvOmxhYnNAbmxuZXRsYWJzLm5s",
	  "000000000000000102006d61696c746f3a6c616273406e6c6e65746c6162732e6e6c" },
	{ T_DOA, "4294967295 100000 200 example/nothing -",
	  "ffffffff000186a0c80f6578616d706c652f6e6f7468696e67" },
	{ T_DOA, "1 2 3 \"text/plain; charset=\\\"x\\\"\" AQ ID",
	  "00000001000000020317746578742f706c61696e3b20636861727365743d227822010203" },
	{ T_AMTRELAY, "10 0 0 .",
	  "0a00" },
	{ T_AMTRELAY, "10 0 1 203.0.113.15",
	  "0a01cb00710f" },
	{ T_AMTRELAY, "255 1 2 2001:db8::15",
	  "ff8220010db8000000000000000000000015" },
	{ T_AMTRELAY, "128 1 3 Amtrelays.example.com.",
	  "808309416d7472656c617973076578616d706c6503636f6d00" },
	{ T_AMTRELAY, "\\# 4 0a 84 0102",
	  "0a840102" },
	{ T_RESINFO, "qnamemin exterr=15-17 infourl=https://resolver.example.com/guide",
	  "08716e616d656d696e0c6578746572723d31352d31372a696e666f75726c3d687"
	  "47470733a2f2f7265736f6c7665722e6578616d706c652e636f6d2f6775696465" },
	{ T_RESINFO, "\"a b\"",
	  "03612062" },
	{ T_WALLET, "BTC \"bc1q x\"",
	  "0342544306626331712078" },
	{ T_CLA, "TCP-v4-v6 TCP-v4",
	  "095443502d76342d7636065443502d7634" },
	{ T_IPN, "100",
	  "0000000000000064" },
	{ T_IPN, "4294967295.1",
	  "ffffffff00000001" },
	{ T_IPN, "0.4294967295",
	  "00000000ffffffff" },
	{ T_IPN, "18446744073709551615",
	  "ffffffffffffffff" },
	{ T_TA, "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118",
	  "ec4505012bb183af5f22588179a53b0a98631fad1a292118" },
	{ T_DLV, "58470 5 1 ( 2BB183AF5F22588179A53B0A98631FAD1A292118 )",
	  "e46605012bb183af5f22588179a53b0a98631fad1a292118" },
	{ T_IPN, "100.100", "0000006400000064" },
};

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	for (; hex[0] && hex[1]; hex += 2) {
		unsigned v;
		sscanf(hex, "%2x", &v);
		out[n++] = (uint8_t)v;
	}
	return n;
}

static int parse(uint16_t type, const char *text, uint8_t *out, char *why)
{
	struct lex x;
	lex_init(&x, text, strlen(text), 1);
	/* the lexer passes over an empty entry: an owner stands before rdata */
	lex_next(&x);
	return rdata_parse(&x, type, example(), out, why);
}

static void test_types(void)
{
	static uint8_t got[RDATA_MAX], expect[RDATA_MAX], again[RDATA_MAX];
	char why[WHY_MAX], text[4096], buf[12];
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		snprintf(text, sizeof text, "owner %s", types[i].text);
		strcpy(why, "");
		size_t n = from_hex(types[i].hex, expect);
		int len = parse(types[i].type, text, got, why);
		bool good = len == (int)n && !memcmp(got, expect, n) &&
		            !rdata_fault(types[i].type, expect, n);
		ok(good, "%s %s %s", rr_type_text(types[i].type, buf), types[i].text, len < 0 ? why : "");
		snprintf(text, sizeof text, "owner \\# %zu %s", n, types[i].hex);
		len = parse(types[i].type, text, again, why);
		good = len == (int)n && !memcmp(again, expect, n);
		/* every truncation is read and judged without a step too far (sanitizers watch) */
		snprintf(text, sizeof text, "owner %s", types[i].text);
		for (size_t cut = 0; cut < strlen(text); cut++) {
			char *part = malloc(cut + 1);
			memcpy(part, text, cut);
			struct lex x;
			lex_init(&x, part, cut, 1);
			lex_next(&x);
			rdata_parse(&x, types[i].type, example(), again, why);
			free(part);
		}
		for (size_t cut = 0; cut < n; cut++) {
			uint8_t *part = malloc(cut + 1);
			memcpy(part, expect, cut);
			rdata_fault(types[i].type, part, cut);
			free(part);
		}
		if (!good)
			ok(false, "%s as \\#: %s", rr_type_text(types[i].type, buf), why);
	}
}

/* Types whose rdata has an end of its own: a shorter one is refused, a longer one too. */
static void test_whole(void)
{
	static const uint16_t whole[] = {
		T_A, T_NS, T_MD, T_MF, T_CNAME, T_SOA, T_MB, T_MG, T_MR, T_PTR, T_HINFO, T_MINFO, T_MX, T_RP,
		T_AFSDB, T_X25, T_RT, T_NSAP_PTR, T_PX, T_GPOS, T_AAAA, T_LOC, T_SRV, T_NAPTR, T_KX, T_A6,
		T_DNAME, T_NSEC3PARAM, T_TALINK, T_DSYNC, T_NID, T_L32, T_L64, T_LP, T_EUI48, T_EUI64, T_IPN,
	};
	uint8_t rdata[1024];
	char buf[12];
	for (size_t k = 0; k < sizeof whole / sizeof *whole; k++) {
		unsigned seen = 0, taken = 0;
		for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
			if (types[i].type != whole[k])
				continue;
			size_t n = from_hex(types[i].hex, rdata);
			rdata[n] = 0;
			for (size_t cut = 0; cut < n; cut++)
				taken += !rdata_fault(whole[k], rdata, cut);
			taken += !rdata_fault(whole[k], rdata, n + 1);
			seen++;
		}
		ok(taken == 0 && (seen || whole[k] == T_SOA), "%s: cut short or too long is refused", rr_type_text(whole[k], buf));
	}
}

/* Which octets are names that count as lower case: RFC 4034 section 6.2 without
 * NSEC (RFC 6840 section 5.1); types of later days are not in that list. */
static void test_fold(void)
{
	static const struct { uint16_t type; const char *text; size_t from, to; } folds[] = {
		{ T_NS, "A.", 0, 3 },
		{ T_MX, "1 A.", 2, 5 },
		{ T_MINFO, "A. B.", 0, 6 },
		{ T_RP, "A. B.", 0, 6 },
		{ T_AFSDB, "1 A.", 2, 5 },
		{ T_RT, "1 A.", 2, 5 },
		{ T_SIG, "A 1 1 1 1 1 1 A. AAAA", 18, 21 },
		{ T_PX, "1 A. B.", 2, 8 },
		{ T_NXT, "A. A", 0, 3 },
		{ T_NAPTR, "1 1 \"A\" \"B\" \"\" A.", 9, 12 },
		{ T_KX, "1 A.", 2, 5 },
		{ T_SRV, "1 1 1 A.", 6, 9 },
		{ T_DNAME, "A.", 0, 3 },
		{ T_A6, "64 ::1 A.", 9, 12 },
		{ T_A6, "61 ::1 A.", 10, 13 },
		{ T_A6, "128 A.", 1, 4 },
		{ T_RRSIG, "A 1 1 1 1 1 1 A. AAAA", 18, 21 },
		/* none */
		{ T_A6, "0 ::1", 0, 0 },
		{ T_HINFO, "A B", 0, 0 },
		{ T_WKS, "1.2.3.4 6 25", 0, 0 },
		{ T_NSAP_PTR, "A.", 0, 0 },
		{ T_NSEC, "A. A", 0, 0 },
		{ T_IPSECKEY, "1 3 1 A. AAAA", 0, 0 },
		{ T_HIP, "1 AA AAAA A.", 0, 0 },
		{ T_TALINK, "A. B.", 0, 0 },
		{ T_SVCB, "1 A.", 0, 0 },
		{ T_DSYNC, "CDS 1 1 A.", 0, 0 },
		{ T_LP, "1 A.", 0, 0 },
		{ T_AMTRELAY, "1 0 3 A.", 0, 0 },
	};
	static uint8_t rdata[RDATA_MAX];
	char why[WHY_MAX], text[512], buf[12];
	for (size_t i = 0; i < sizeof folds / sizeof *folds; i++) {
		size_t from = 1, to = 0;
		snprintf(text, sizeof text, "owner %s", folds[i].text);
		int n = parse(folds[i].type, text, rdata, why);
		if (n >= 0)
			rdata_fold_span(folds[i].type, rdata, (size_t)n, &from, &to);
		bool good = folds[i].to ? from == folds[i].from && to == folds[i].to : from == to;
		ok(n >= 0 && good, "lower case counts in %s %s: %zu to %zu", rr_type_text(folds[i].type, buf), folds[i].text, from, to);
	}
}

/* Every mnemonic is read as it is written, in any case. */
static void test_mnemonics(void)
{
	unsigned named = 0, wrongly = 0;
	for (unsigned t = 0; t <= 65535; t++) {
		char buf[12], low[12];
		const char *text = rr_type_text((uint16_t)t, buf);
		size_t n = strlen(text);
		for (size_t i = 0; i <= n; i++)
			low[i] = (char)name_fold((uint8_t)text[i]);
		named += strncmp(text, "TYPE", 4) != 0;
		wrongly += rr_type_parse(text, n) != (int)t || rr_type_parse(low, n) != (int)t;
	}
	ok(named == 99 && wrongly == 0, "%u types have names, %u are misread", named, wrongly);
	ok(rr_type_parse("", 0) < 0 && rr_type_parse("AA", 2) < 0 && rr_type_parse("NSAP-", 5) < 0 &&
	   rr_type_parse("TYPE65536", 9) < 0 && rr_type_parse("TYPE", 4) < 0 && rr_type_parse("TYPE1x", 6) < 0,
	   "no names of types");
}

static const struct { uint16_t type; const char *text, *why; } wrong[] = {
	{ T_A, "300.1.1.1", "is not an IPv4 address" },
	{ T_A, "1.2.3", "is not an IPv4 address" },
	{ T_A, "01.2.3.4", "is not an IPv4 address" },
	{ T_A, "1.2.3.4 5", "should have ended" },
	{ T_A, "", "the record ends where an IPv4 address should be" },
	{ T_A, "\\# 3 010203", "too short" },
	{ T_A, "\\# 5 0102030405", "octets follow" },
	{ T_A, "\\# 5 01020304", "announces 5 octets, 4 follow" },
	{ T_A, "\\# 4 0102030", "odd number" },
	{ T_MX, "\\# 3 000AC0", "too short" },
	{ T_NS, "\\# 2 C000", "too short" },
	{ 65280, "1 2 3", "\\# LENGTH HEX" },
	{ T_AAAA, "1::2::3", "is not an IPv6 address" },
	{ T_NS, "a..b", "is not a domain name" },
	{ T_NS, "\\256", "is not a domain name" },
	{ T_NS, "0123456789012345678901234567890123456789012345678901234567890123", "is not a domain name" },
	{ T_MX, "65536 a", "is not a number" },
	{ T_MX, "-1 a", "is not a number" },
	{ T_TXT, "\"open", "not closed" },
	{ T_TXT, "\"open\n\"", "not closed on its line" },
	{ T_TXT, "\\", "nothing follows a backslash" },
	{ T_TXT, "\\25", "escapes" },
	{ T_TXT, "", "ends where a string" },
	{ T_TXT, "(a", "parenthesis is not closed" },
	{ T_TXT, "a)", "without its (" },
	{ T_HINFO, "a", "ends where a string" },
	{ T_SOA, "a b 1 2 3 4", "ends where a time" },
	{ T_SOA, "a b 1 2 3 4 5x", "is not a time" },
	{ T_DS, "1 8 2 00", "does not fit its type" },
	{ T_DS, "1 8 2", "hexadecimal digits should be" },
	{ T_DS, "1 NOSUCH 2 00", "is not an algorithm" },
	{ T_DNSKEY, "257 3 8", "base64 should be" },
	{ T_DNSKEY, "257 3 8 AAA", "cut short" },
	{ T_DNSKEY, "257 3 8 AA=A", "is not base64" },
	{ T_DNSKEY, "257 3 8 AB==", "cut short" },
	{ T_RRSIG, "A 8 2 1 20200230000000 20200101000000 1 . AAAA", "is not a time" },
	{ T_RRSIG, "A 8 2 1 20201301000000 20200101000000 1 . AAAA", "is not a time" },
	{ T_RRSIG, "NOTYPE 8 2 1 0 0 1 . AAAA", "is not a record type" },
	{ T_NSEC, "a NOTYPE", "is not a record type" },
	{ T_NSEC, "\\# 4 00000100", "bitmap" },
	{ T_NSEC3, "1 0 0 ABC 00 A", "is not a salt" },
	{ T_NSEC3, "1 0 0 - zz A", "is not a hash" },
	{ T_LOC, "91 N 0 E 0", "is not a latitude" },
	{ T_LOC, "90 1 N 0 E 0", "beyond 90 degrees" },
	{ T_LOC, "1 N 1 N 0", "is not a latitude" },
	{ T_LOC, "1 N 1 E 1x", "is not a length" },
	{ T_LOC, "1 N 1 E -100000.01", "is not a length" },
	{ T_APL, "1:1.2.3.4/33", "APL" },
	{ T_APL, "3:1.2.3.4/3", "APL" },
	{ T_IPSECKEY, "1 4 1 . AAAA", "gateway type 4" },
	{ T_IPSECKEY, "1 0 1 a. AAAA", "gateway type 0" },
	{ T_EUI48, "00-00-5e-00-53", "EUI-48" },
	{ T_CAA, "0 is-sue \"x\"", "letters and digits" },
	{ T_CAA, "256 issue x", "is not a number" },
	{ T_URI, "1 1 \"\"", "too short" },
	{ T_ZONEMD, "1 1 1 00112233445566778899aabb", "does not fit its hash" },
	{ T_ZONEMD, "1 9 9 0011", "does not fit its hash" },
	{ T_WKS, "1.2.3.4", "ends where a protocol" },
	{ T_WKS, "1.2.3.4 256", "is not a protocol" },
	{ T_WKS, "1.2.3.4 tcp 65536", "is not a port" },
	{ T_WKS, "1.2.3.4 tcp nosuch", "is not a port" },
	{ T_WKS, "1.2.3 tcp 1", "is not an IPv4 address" },
	{ T_WKS, "\\# 4 01020304", "too short" },
	{ T_X25, "123", "four digits" },
	{ T_X25, "12a4", "four digits" },
	{ T_X25, "1234 5", "should have ended" },
	{ T_X25, "", "ends where a number of X.121" },
	{ T_ISDN, "", "ends where a string" },
	{ T_ISDN, "1 2 3", "should have ended" },
	{ T_ISDN, "\\# 3 013102", "too short" },
	{ T_NSAP, "47", "is not an NSAP address" },
	{ T_NSAP, "0x", "is not an NSAP address" },
	{ T_NSAP, "0x123", "is not an NSAP address" },
	{ T_NSAP, "0x12..34", "is not an NSAP address" },
	{ T_NSAP, "0x12g4", "is not an NSAP address" },
	{ T_NSAP, "\\# 0", "too short" },
	{ T_NSAP_PTR, "a..b", "is not a domain name" },
	{ T_SIG, "A 5 1 1 1 1 1 .", "base64 should be" },
	{ T_SIG, "NOTYPE 5 1 1 1 1 1 . AAAA", "is not a record type" },
	{ T_KEY, "512 3 3", "the key is missing" },
	{ T_KEY, "NOKEY 3 3 AAAA", "a key follows" },
	{ T_KEY, "ZONE| 3 3 AAAA", "is not a key's flags" },
	{ T_KEY, "|ZONE 3 3 AAAA", "is not a key's flags" },
	{ T_KEY, "ZONES 3 3 AAAA", "is not a key's flags" },
	{ T_KEY, "65536 3 3 AAAA", "is not a key's flags" },
	{ T_KEY, "0 SSH 3 AAAA", "is not a key's protocol" },
	{ T_KEY, "\\# 3 010203", "too short" },
	{ T_DNSKEY, "257 3 8 A", "cut short" },
	{ T_PX, "1 a", "ends where a name" },
	{ T_GPOS, "1 2", "ends where a string" },
	{ T_GPOS, "1 2 3 4", "should have ended" },
	{ T_NXT, "a TYPE128", "is not a record type that NXT can hold" },
	{ T_NXT, "a NOTYPE", "is not a record type" },
	{ T_NXT, "\\# 3 004000", "bitmap" },
	{ T_NXT, "\\# 18 000100000000000000000000000000000001", "bitmap" },
	{ T_EID, "", "hexadecimal digits should be" },
	{ T_EID, "0", "odd number" },
	{ T_NIMLOC, "0g", "is not hexadecimal" },
	{ T_ATMA, "", "ends where an ATM address" },
	{ T_ATMA, "\"\"", "is not an ATM address" },
	{ T_ATMA, "3", "is not an ATM address" },
	{ T_ATMA, "+", "is not an ATM address" },
	{ T_ATMA, "+1a", "is not an ATM address" },
	{ T_ATMA, "+1..2", "is not an ATM address" },
	{ T_ATMA, "+.1", "is not an ATM address" },
	{ T_ATMA, ".39", "is not an ATM address" },
	{ T_ATMA, "39.", "is not an ATM address" },
	{ T_ATMA, "\\# 1 00", "too short" },
	{ T_ATMA, "\\# 3 013161", "only digits" },
	{ T_A6, "129 ::1 a", "is not a prefix length" },
	{ T_A6, "64 1.2.3.4 a", "is not an IPv6 address" },
	{ T_A6, "64 ::1", "ends where a name" },
	{ T_A6, "0 ::1 a", "should have ended" },
	{ T_A6, "\\# 1 81", "longer than 128 bits" },
	{ T_A6, "\\# 10 3c ff00000000000000 00", "bits of the prefix" },
	{ T_SINK, "1 2", "ends where a number" },
	{ T_SINK, "1 2 256", "is not a number" },
	{ T_SINK, "1 2 3 A", "cut short" },
	{ T_HIP, "2 00", "ends where a key" },
	{ T_HIP, "256 00 AAAA", "is not an algorithm" },
	{ T_HIP, "2 0 AAAA", "is not a HIT" },
	{ T_HIP, "2 \"\" AAAA", "is not a HIT" },
	{ T_HIP, "2 00 A", "is not a key" },
	{ T_HIP, "2 00 AAAA a..b", "is not a domain name" },
	{ T_HIP, "\\# 7 0102 0003 00 0000", "too short" },
	{ T_HIP, "\\# 5 0002 0001 00", "is missing" },
	{ T_HIP, "\\# 5 0102 0000 00", "is missing" },
	{ T_HIP, "\\# 8 0102 0001 00 00 0161", "too short" },
	{ T_RKEY, "0 0 0", "base64 should be" },
	{ T_TALINK, "a", "ends where a name" },
	{ T_DS, "1 8 5 00", "does not fit its type" },
	{ T_DS, "1 8 6 00", "does not fit its type" },
	{ T_TA, "1 8 1 00", "does not fit its type" },
	{ T_DLV, "1 8 2 00", "does not fit its type" },
	{ T_DSYNC, "CDS SOON 53 a", "is not a scheme" },
	{ T_DSYNC, "NOTYPE 1 53 a", "is not a record type" },
	{ T_DSYNC, "CDS 1 65536 a", "is not a number" },
	{ T_HHIT, "", "base64 should be" },
	{ T_BRID, "A", "cut short" },
	{ T_UNECE, "16 - X", "ends where a string" },
	{ T_ISO, "4217 1 USD a b", "should have ended" },
	{ T_ISO, "\\# 3 013102", "too short" },
	{ T_UINFO, "x", "\\# LENGTH HEX" },
	{ T_UID, "1", "\\# LENGTH HEX" },
	{ T_GID, "1", "\\# LENGTH HEX" },
	{ T_UNSPEC, "x", "\\# LENGTH HEX" },
	{ T_NULL, "x", "\\# LENGTH HEX" },
	{ T_NID, "1 0:1:2", "is not 64 bits" },
	{ T_NID, "1 0:1:2:3:4", "is not 64 bits" },
	{ T_NID, "1 0::2:3", "is not 64 bits" },
	{ T_NID, "1 0:1:2:33333", "is not 64 bits" },
	{ T_NID, "1 0:1:2:g", "is not 64 bits" },
	{ T_L64, "1 0:1:2:", "is not 64 bits" },
	{ T_L64, "1", "ends where 64 bits" },
	{ T_L32, "1 ::1", "is not an IPv4 address" },
	{ T_LP, "65536 a", "is not a number" },
	{ T_AVC, "", "ends where a string" },
	{ T_DOA, "1 2 3 x", "base64 should be" },
	{ T_DOA, "1 2 3 x - AAAA", "should have ended" },
	{ T_DOA, "4294967296 2 3 x -", "is not a number" },
	{ T_DOA, "\\# 9 00000000 00000000 00", "too short" },
	{ T_AMTRELAY, "1 2 0 .", "is not the discovery-optional bit" },
	{ T_AMTRELAY, "1 0 4 a", "is not a relay type" },
	{ T_AMTRELAY, "1 0 0 a.", "relay type 0" },
	{ T_AMTRELAY, "1 0 1 ::1", "is not an IPv4 address" },
	{ T_AMTRELAY, "1 0 2 a", "is not an IPv6 address" },
	{ T_AMTRELAY, "1 0 3", "ends where a name" },
	{ T_AMTRELAY, "\\# 3 010000", "octets follow" },
	{ T_AMTRELAY, "\\# 5 0181 010203", "too short" },
	{ T_AMTRELAY, "\\# 7 0101 0102030405", "octets follow" },
	{ T_RESINFO, "", "ends where a string" },
	{ T_WALLET, "", "ends where a string" },
	{ T_CLA, "", "ends where a string" },
	{ T_IPN, "18446744073709551616", "is not a node number" },
	{ T_IPN, "4294967296.1", "is not a node number" },
	{ T_IPN, "1.", "is not a node number" },
	{ T_IPN, "1.2.3", "is not a node number" },
	{ T_IPN, "-1", "is not a node number" },
	{ T_IPN, "\"\"", "is not a node number" },
	{ T_SVCB, "1 . port=1 port=2", "given once" },
	{ T_SVCB, "1 . mandatory=port", "a mandatory key is missing" },
	{ T_SVCB, "1 . mandatory=mandatory", "mandatory" },
	{ T_SVCB, "1 . mandatory=port,port port=1", "mandatory" },
	{ T_SVCB, "1 . alpn=", "protocols" },
	{ T_SVCB, "1 . alpn=a,,b", "protocols" },
	{ T_SVCB, "1 . no-default-alpn", "without alpn" },
	{ T_SVCB, "1 . no-default-alpn=1 alpn=a", "without a value" },
	{ T_SVCB, "1 . port=65536", "is not a number" },
	{ T_SVCB, "1 . port", "is not a number" },
	{ T_SVCB, "1 . ipv4hint=1.2.3", "IPv4" },
	{ T_SVCB, "1 . ipv6hint=1.2.3.4", "IPv6" },
	{ T_SVCB, "1 . ech=!", "base64" },
	{ T_SVCB, "1 . ech", "ech is empty" },
	{ T_SVCB, "1 . nosuch=1", "SVCB key" },
	{ T_SVCB, "1 . key65535=1", "SVCB key" },
	{ T_SVCB, "1 . key065=1", "SVCB key" },
	{ T_SVCB, "1 . key3=1", "port is not two octets" },
	{ T_SVCB, "\\# 11 0001 00 0003 0002 0035 0003", "cut short" },
};

static void test_wrong(void)
{
	static uint8_t got[RDATA_MAX];
	char why[WHY_MAX], text[512], buf[12];
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		snprintf(text, sizeof text, "owner %s", wrong[i].text);
		strcpy(why, "");
		int len = parse(wrong[i].type, text, got, why);
		ok(len < 0 && strstr(why, wrong[i].why), "refused: %s %s: %s", rr_type_text(wrong[i].type, buf),
		   wrong[i].text, len < 0 ? why : "taken");
	}
	char *big = malloc(400000);
	for (unsigned n = 255; n <= 256; n++) {
		int at = sprintf(big, "owner \"");
		memset(big + at, 'x', n);
		strcpy(big + at + n, "\"");
		ok((parse(T_TXT, big, got, why) == 256) == (n == 255), "a string of %u octets", n);
	}
	for (unsigned n = 65535; n <= 65536; n++) {
		int at = sprintf(big, "owner \\# %u ", n);
		memset(big + at, 'a', 2 * n);
		big[(unsigned)at + 2 * n] = 0;
		ok((parse(T_NULL, big, got, why) == 65535) == (n == 65535), "rdata of %u octets", n);
	}
	free(big);
}

/* ---- grammar ---- */

static const struct { const char *title, *text, *expect; } grammar[] = {
	{ "CRLF and no final newline", "$TTL 1\r\na A 1.2.3.4\r\n  A 1.2.3.5", "a.example. 1 A 01020304\na.example. 1 A 01020305\n" },
	{ "parentheses, comments", "$TTL 1 ; x (\na ( A ; y )\n 1.2.3.4 ) ; z\n; only\n\n   \n\t; blank\nb A 1.2.3.4",
	  "a.example. 1 A 01020304\nb.example. 1 A 01020304\n" },
	{ "nested parentheses", "$TTL 1\na ( ( A\n) 1.2.3.4\n)\n", "a.example. 1 A 01020304\n" },
	{ "TTL and class in either order, any case", "a 5 IN A 1.1.1.1\na in 6 a 1.1.1.2\na CLASS1 7 tYpE1 1.1.1.3\n",
	  "a.example. 5 A 01010101\na.example. 6 A 01010102\na.example. 7 A 01010103\n" },
	{ "units", "$TTL 1w2d3h4m5s\na TXT x\na 1H30M TXT y\n", "a.example. 788645 TXT 0178\na.example. 5400 TXT 0179\n" },
	{ "owners named as types and classes", "$TTL 1\nA A 1.1.1.1\nIN IN A 1.1.1.1\nNS NS NS\n0 0 A 1.1.1.1\n",
	  "A.example. 1 A 01010101\nIN.example. 1 A 01010101\nNS.example. 1 NS 024e53076578616d706c6500\n0.example. 0 A 01010101\n" },
	{ "TTL over 2^31-1 is 0", "a 2147483648 A 1.1.1.1\na 2147483647 A 1.1.1.1\n",
	  "a.example. 0 A 01010101\na.example. 2147483647 A 01010101\n" },
	{ "RFC 1035's last TTL", "a 7 A 1.1.1.1\nb A 1.1.1.1\n", "a.example. 7 A 01010101\nb.example. 7 A 01010101\n" },
	{ "the SOA's minimum as TTL", "@ SOA a b 1 2 3 4 5\na A 1.1.1.1\n",
	  "example. 5 SOA 0161076578616d706c65000162076578616d706c65000000000100000002000000030000000400000005\na.example. 5 A 01010101\n" },
	{ "$ORIGIN, relative to the last", "$TTL 1\n$ORIGIN a\nx A 1.1.1.1\n$ORIGIN b\n@ A 1.1.1.1\n$origin .\nc A 1.1.1.1\n",
	  "x.a.example. 1 A 01010101\nb.a.example. 1 A 01010101\nc. 1 A 01010101\n" },
	{ "escapes and 8 bits in owners", "$TTL 1\na\\.b\\032\\(\\; A 1.1.1.1\n\\042 A 1.1.1.1\n\xe4 A 1.1.1.1\n\\$x A 1.1.1.1\n",
	  "a\\.b\\032\\(\\;.example. 1 A 01010101\n*.example. 1 A 01010101\n\\228.example. 1 A 01010101\n\\$x.example. 1 A 01010101\n" },
	{ "quotes hold specials", "$TTL 1\na TXT \";()\" \"\\\"\" x\"y\"\n", "a.example. 1 TXT 033b2829012201780179\n" },
	{ "$GENERATE", "$TTL 9\n$GENERATE 1-5/2 h$ A 10.0.0.$\n", "h1.example. 9 A 0a000001\nh3.example. 9 A 0a000003\nh5.example. 9 A 0a000005\n" },
	{ "$GENERATE with modifiers", "$GENERATE 9-10 ${1,3}-${0,0,x}-${-9,2,o} 5 IN TXT a$$ \\$ ${246,4,X}\n",
	  "010-9-00.example. 5 TXT 02612401240430304646\n011-a-01.example. 5 TXT 02612401240430313030\n" },
	{ "$GENERATE with nibbles", "$GENERATE 26-26 ${0,5,n}.${0,0,N} 5 CNAME ${0}\n", "a.1.0.A.1.example. 5 CNAME 023236076578616d706c6500\n" },
	{ "$GENERATE with quoted rdata", "$GENERATE 1-1 m$ 5 MX \"1$ m$\"\n", "m1.example. 5 MX 000b026d31076578616d706c6500\n" },
	{ "$GENERATE leaves the last owner", "$TTL 1\na A 1.1.1.1\n$GENERATE 1-1 g A 1.1.1.2\n A 1.1.1.3\n",
	  "a.example. 1 A 01010101\ng.example. 1 A 01010102\na.example. 1 A 01010103\n" },
	{ "after an error the rest is read", "$TTL 1\na A x\nb A ( 1.1.1\n 1 )\n)c A 1.1.1.1\nd A 1.1.1.1\n", "d.example. 1 A 01010101\n" },
	{ "nothing", "", "" },
	{ "a blank line only", " ", "" },
};

static const struct { const char *text, *say; } grammar_wrong[] = {
	{ "\n\na A 1.1.1.1\n", "error t:3: no TTL: give one" },
	{ "$TTL 1\n A 1.1.1.1\n", "error t:2: the first record has no owner" },
	{ "$TTL 1\na CH A 1.1.1.1\n", "error t:2: \"CH\": only class IN is served" },
	{ "$TTL 1\na CLASS3 A 1.1.1.1\n", "only class IN is served" },
	{ "$TTL 1\na NOSUCH 1.1.1.1\n", "error t:2: \"NOSUCH\": unknown record type" },
	{ "$TTL 1\na ANY 1.1.1.1\n", "no zone can hold" },
	{ "$TTL 1\na TYPE41 \\# 0\n", "no zone can hold" },
	{ "$TTL 1\na 1 2 A 1.1.1.1\n", "unknown record type" },
	{ "$TTL 1\na\n", "the entry ends before its type" },
	{ "$TTL 1\na..b A 1.1.1.1\n", "error t:2: \"a..b\" is not a domain name" },
	{ "$TTL\n", "$TTL without a time" },
	{ "$TTL x\n", "$TTL: not a time" },
	{ "$TTL 1 2\n", "more words than the directive takes" },
	{ "$ORIGIN a..\n", "$ORIGIN: not a domain name" },
	{ "$NOSUCH\n", "unknown directive" },
	{ "$INCLUDE /etc/hostname\n", "only possible in a file" },
	{ "$GENERATE 2-1 a A 1.1.1.1\n", "range is not start-stop" },
	{ "$GENERATE 1-2/0 a A 1.1.1.1\n", "range is not start-stop" },
	{ "$GENERATE 0-2147483647 a A 1.1.1.1\n", "over 16777216 steps" },
	{ "$GENERATE 1-2 a 1 A 1.1.1.${0,1,q}\n", "${offset,width,base} is wrong" },
	{ "$GENERATE 1-2 a 1 A 1.1.1.${-2}\n", "${offset,width,base} is wrong" },
	{ "$GENERATE 255-256 a 1 A 1.1.1.$\n", "error t:1: A: \"1.1.1.256\" is not an IPv4 address" },
	{ "$GENERATE 1-2 a\n", "the entry ends before its type" },
	{ "$TTL 1\na TXT (\n\n x\n", "error t:2: TXT: a parenthesis is not closed" },
};

static void test_grammar(void)
{
	static struct out o;
	static struct said s;
	for (size_t i = 0; i < sizeof grammar / sizeof *grammar; i++) {
		read_text(grammar[i].text, strlen(grammar[i].text), &o, &s);
		bool good = !strcmp(o.text, grammar[i].expect);
		ok(good, "%s", grammar[i].title);
		if (!good)
			printf("# got:\n%s# said: %s\n", o.text, s.text);
	}
	for (size_t i = 0; i < sizeof grammar_wrong / sizeof *grammar_wrong; i++) {
		int rc = read_text(grammar_wrong[i].text, strlen(grammar_wrong[i].text), &o, &s);
		ok(rc == -1 && strstr(s.text, grammar_wrong[i].say), "said: %s", s.n ? s.text : "nothing");
	}
	char *many = malloc(100 * 8 + 1);
	for (unsigned i = 0; i < 100; i++)
		memcpy(many + 8 * i, "a A xyz\n", 8);
	read_text(many, 800, &o, &s);
	ok(s.errors == MASTER_ERRORS + 1 && strstr(s.text, "too many errors"), "gives up after %u errors", MASTER_ERRORS);
	free(many);
}

/* ---- files ---- */

static void put_file(const char *dir, const char *name, const char *text)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		ok(false, "cannot write %s", path);
}

static int read_file(const char *dir, const char *name, struct out *o, struct said *s)
{
	char path[512];
	struct zone_report report = { hear, s, NULL };
	struct master_sink sink = { write_rr, o, &report };
	memset(o, 0, sizeof *o);
	memset(s, 0, sizeof *s);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return master_read(path, example(), &sink);
}

static void test_blocks(const char *dir)
{
	static struct out a, b;
	static struct said s;
	size_t size = 3u << 20, n = 0;
	char *text = malloc(size);
	n += (size_t)sprintf(text, "$TTL 1\n");
	for (unsigned i = 0; n + 400000 < size; i++) {
		n += (size_t)sprintf(text + n, "n%u TXT \"quoted ;( %u\" \\\" ; a comment )\n", i, i);
		if (i == 1000) { /* a comment over a whole block, and a long word across its end */
			text[n++] = ';';
			memset(text + n, '(', 600000);
			n += 600000;
			n += (size_t)sprintf(text + n, "\nlong TYPE300 \\# 65535 ");
			memset(text + n, '7', 131070);
			n += 131070;
			text[n++] = '\n';
		}
	}
	text[n] = 0;
	put_file(dir, "big", text);
	int rc = read_text(text, n, &a, &s);
	ok(rc == 0 && a.records > 10000, "a big text: %llu records %s", (unsigned long long)a.records, s.text);
	rc = read_file(dir, "big", &b, &s);
	ok(rc == 0 && a.records == b.records && !strcmp(a.text, b.text), "the same from a file, in blocks %s", s.text);
	memset(text, 'x', 700000);
	text[700000] = 0;
	put_file(dir, "word", text);
	ok(read_file(dir, "word", &b, &s) == -1 && strstr(s.text, "too long"), "a word over the block: %s", s.text);
	free(text);
}

static void test_files(void)
{
	static struct out o;
	static struct said s;
	char dir[] = "/tmp/test_master.XXXXXX", cmd[64];
	if (!mkdtemp(dir)) {
		ok(false, "mkdtemp");
		return;
	}
	snprintf(cmd, sizeof cmd, "mkdir %s/sub", dir);
	ok(system(cmd) == 0, "a folder");
	put_file(dir, "top", "$TTL 1\na A 1.1.1.1\n$INCLUDE sub/one in ; comment\n A 1.1.1.3\nb A 1.1.1.4\n$INCLUDE \"sub/two\"\nc A 1.1.1.5\n");
	put_file(dir, "sub/one", "x A 1.1.1.2\n$ORIGIN deep\n$INCLUDE two");
	put_file(dir, "sub/two", "y A 2.2.2.2\n$TTL 2\n");
	int rc = read_file(dir, "top", &o, &s);
	ok(rc == 0 && !strcmp(o.text, "a.example. 1 A 01010101\nx.in.example. 1 A 01010102\n"
	                              "y.deep.in.example. 1 A 02020202\na.example. 2 A 01010103\n"
	                              "b.example. 2 A 01010104\ny.example. 2 A 02020202\nc.example. 2 A 01010105\n"),
	   "$INCLUDE: folder, origin and owner %s", s.text);
	put_file(dir, "loop", "$INCLUDE loop\n");
	ok(read_file(dir, "loop", &o, &s) == -1 && strstr(s.text, "error loop:1: $INCLUDE goes too deep"), "a loop: %s", s.text);
	put_file(dir, "gone", "\n$INCLUDE nowhere\n");
	ok(read_file(dir, "gone", &o, &s) == -1 && strstr(s.text, "error gone:2: $INCLUDE: "), "a missing include: %s", s.text);
	put_file(dir, "inner", "$TTL 1\n$INCLUDE bad\nb A y\n");
	put_file(dir, "bad", "\na A x\n");
	ok(read_file(dir, "inner", &o, &s) == -1 && strstr(s.text, "error bad:2: A: ") && strstr(s.text, "error inner:3: A: "),
	   "an error inside an include: %s", s.text);
	ok(read_file(dir, "absent", &o, &s) == -1 && s.errors == 1, "no such file: %s", s.text);
	ok(read_file(dir, "sub", &o, &s) == -1 && s.errors == 1, "a folder: %s", s.text);
	test_blocks(dir);
	snprintf(cmd, sizeof cmd, "rm -r %s", dir);
	ok(system(cmd) == 0, "cleaned up");
}

/* ---- zones ---- */

#define APEX "$TTL 60\n@ SOA ns1 h 7 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n"
static const struct { const char *text, *say; } zones[] = {
	/* refused */
	{ "", "error -:0: example.: no SOA" },
	{ "$TTL 1\n@ NS a.b.\n", "no SOA" },
	{ "$TTL 1\n@ SOA a b 1 2 3 4 5\n", "no NS at the apex" },
	{ APEX "@ SOA ns1 h 8 2 3 4 5\n", "error (memory):5: example.: several SOA records" },
	{ APEX "x SOA ns1 h 8 2 3 4 5\n", "error (memory):5: an SOA elsewhere than at the apex" },
	{ APEX "x.org. A 1.1.1.1\n", "error (memory):5: the owner is outside the zone" },
	{ APEX "notexample. A 1.1.1.1\n", "the owner is outside the zone" },
	{ APEX "x\\.example. A 1.1.1.1\n", "the owner is outside the zone" },
	{ APEX "x A 1.1.1.1\nx CNAME y\n", "error (memory):6: x.example.: CNAME beside other data (A)" },
	{ APEX "x CNAME y\nx TXT y\n", "error (memory):6: x.example.: CNAME beside other data (TXT)" },
	{ APEX "x CNAME y\nx DNAME y\n", "CNAME beside other data" },
	{ APEX "x CNAME y\nx CNAME z\n", "several CNAME records" },
	{ APEX "x DNAME y\nx DNAME z\n", "several DNAME records" },
	{ APEX "@ CNAME z\n", "CNAME beside other data" },
	{ APEX "$GENERATE 1-4100 big TXT \"0123456789$\"\n", "more than any message holds" },
	{ APEX "$GENERATE 1-257 x RRSIG \"A 8 2 60 20400101000000 20200101000000 $ @ AAAA\"\nx A 1.1.1.1\n", "over 255 signatures" },
	{ APEX "@ ZONEMD 8 1 1 000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\n",
	  "error (memory):5: ZONEMD: its serial is not the SOA's" },
	{ APEX "@ ZONEMD 7 1 1 000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\n",
	  "error (memory):5: ZONEMD: the digest does not fit" },
	/* served, and said */
	{ APEX "@ ZONEMD 7 2 1 000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\n", "" },
	{ APEX "@ SOA NS1 H 7 2 3 4 5\nx A 1.1.1.1\nX A 1.1.1.1\nx MX 1 A\nx MX 1 a\n", "" },
	{ APEX "x CNAME y\nx NSEC a CNAME\nx RRSIG CNAME 8 2 60 20400101000000 20200101000000 1 @ AAAA\nx KEY 1 3 1 AAAA\n", "" },
	{ APEX "@ NS ns2\n", "warning (memory):5: example.: a name server inside the zone has no address" },
	{ APEX "@ NS ns2\n*  A 1.1.1.1\n", "" },
	{ APEX "@ NS ns.sub\nsub NS out.\n", "" },
	{ APEX "sub NS ns.sub\nsub2 NS ns.sub2\n", "warning (memory):5: sub.example.: a name server inside the zone has no address (the first of 2)" },
	{ APEX "@ NS c\nc CNAME ns1\n", "a name server is an alias" },
	{ APEX "x 5 A 1.1.1.1\nx 6 A 1.1.1.2\n", "warning (memory):6: x.example.: the TTLs of a set differ" },
	{ APEX "x A 1.1.1.1\nx RRSIG A 8 2 60 20200101000000 20100101000000 1 @ AAAA\n", "warning (memory):6: x.example.: a signature has expired" },
	{ APEX "x RRSIG A 8 2 60 20400101000000 20100101000000 1 @ AAAA\n", "a signature without the set it covers" },
	{ APEX "sub NS out.\nx.sub TXT x\n", "warning (memory):6: x.sub.example.: records below a delegation" },
	{ APEX "x DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000\n", "DS without a delegation" },
};

static struct zone *load(const char *origin, const char *text, size_t n, struct said *s)
{
	uint8_t name[NAME_MAX_LEN];
	struct zone_report report = { hear, s, NULL };
	memset(s, 0, sizeof *s);
	name_parse(origin, strlen(origin), NULL, name);
	return zone_load_text(name, text, n, &report);
}

static const char *add_rr(void *ctx, const struct master_rr *rr) { return zone_add(ctx, rr, false); }

/* To its end; may it be served? */
static bool walked(struct zone *z)
{
	struct zone_cursor c;
	struct zone_node n;
	if (zone_open(&c, z) != 0)
		return false;
	while (zone_next(&c, &n))
		continue;
	zone_close(&c);
	return !c.bad && !c.refused;
}

/* The same with no memory to speak of: record by record through the disk. */
static struct zone *load_spilled(const char *origin, const char *text, size_t n, struct said *s)
{
	static struct zone_report report;
	uint8_t name[NAME_MAX_LEN];
	report = (struct zone_report){ hear, s, NULL };
	memset(s, 0, sizeof *s);
	name_parse(origin, strlen(origin), NULL, name);
	struct zone *z = zone_new(name);
	struct master_sink sink = { .emit = add_rr, .ctx = z, .report = &report };
	zone_bound(z, 1, "/tmp");
	if (master_read_text(text, n, "(memory)", name, &sink) == 0 && zone_finish(z, (int64_t)time(NULL), &report) == 0 &&
	    walked(z))
		return z;
	zone_free(z);
	return NULL;
}

/* Spilled, a zone is refused for the same reasons, and the same is said of it but
 * for the addresses of name servers. */
static void test_spilled_zones(void)
{
	static struct said s, t;
	unsigned differ = 0;
	for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
		struct zone *z = load("example.", zones[i].text, strlen(zones[i].text), &s);
		struct zone *w = load_spilled("example.", zones[i].text, strlen(zones[i].text), &t);
		bool same = !z == !w && (strstr(s.text, "a name server") || strstr(t.text, "name servers") || !strcmp(s.text, t.text));
		if (!same)
			printf("# zone %zu: in memory \"%s\", spilled \"%s\"\n", i, s.text, t.text);
		differ += !same;
		zone_free(z);
		zone_free(w);
	}
	ok(differ == 0, "spilled to the disk, %zu zones are checked as in memory (%u are not)", sizeof zones / sizeof *zones, differ);
}

static void test_zones(void)
{
	static struct said s;
	for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
		struct zone *z = load("example.", zones[i].text, strlen(zones[i].text), &s);
		bool refused = !strncmp(zones[i].say, "error", 5) || s.errors;
		bool good = !z == refused && (*zones[i].say ? strstr(s.text, zones[i].say) != NULL : s.n == 0);
		ok(good, "zone %zu %s: %s", i, z ? "is served" : "is refused", s.n ? s.text : "nothing said");
		zone_free(z);
	}
	/* the sum of two big sets */
	static char text[200];
	snprintf(text, sizeof text, "%s", APEX);
	char *big = malloc(6u << 20);
	size_t n = (size_t)sprintf(big, "%s", text);
	for (unsigned t = 0; t < 20; t++) {
		n += (size_t)sprintf(big + n, "big TYPE%u \\# 60000 ", 1000 + t);
		memset(big + n, '5', 120000);
		n += 120000;
		big[n++] = '\n';
	}
	struct zone *z = load("example.", big, n, &s);
	ok(!z && strstr(s.text, "big.example.: its records take"), "an owner over BODY_MAX: %s", s.text);
	zone_free(z);
	free(big);
}

static const char tricky[] =
	"$TTL 3600\n"
	"@ SOA ns1 h 1 2 3 4 5\n"
	"@ NS ns1\n"
	"@ NS ns.sub\n"
	"ns1 A 192.0.2.1\n"
	"a.b.c TXT x\n"
	"*.w TXT wild\n"
	"a.*.v TXT deep\n"
	"sub NS ns.sub\n"
	"sub NS ns.deep.x.sub\n"
	"sub DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000\n"
	"sub RRSIG DS 8 2 3600 20300101000000 20200101000000 1 @ AAAA\n"
	"sub RRSIG NS 8 2 3600 20300101000000 20200101000000 1 @ AAAA\n"
	"sub NSEC t A\n"
	"sub RRSIG NSEC 8 2 3600 20300101000000 20200101000000 1 @ AAAA\n"
	"sub A 192.0.2.9\n"
	"sub TXT lost\n"
	"ns.sub A 192.0.2.2\n"
	"ns.sub RRSIG A 8 2 3600 20300101000000 20200101000000 1 @ AAAA\n"
	"ns.sub TXT lost\n"
	"ns.deep.x.sub AAAA ::1\n"
	"below.sub NS lost\n"
	"*.sub A 192.0.2.3\n"
	"d DNAME elsewhere.\n"
	"d TXT kept\n"
	"x.d A 1.2.3.4\n"
	"*.wns NS ns.o.\n"
	"nosuch NS missing\n"
	"alias NS al\n"
	"al CNAME ns1\n"
	"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 0 - 2vptu5timamqttgl4luu9kg21e0aor3s A\n"
	"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom RRSIG NSEC3 8 2 3600 20010101000000 20200101000000 1 @ AAAA\n"
	"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom A 1.2.3.4\n"
	"1p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 0 - 2vptu5timamqttgl4luu9kg21e0aor3s A\n"
	"!.w A 1.2.3.4\n"
	"z 5 A 1.1.1.1\n"
	"z 7 A 1.1.1.2\n"
	"z 7 A 1.1.1.2\n"
	"Z MX 1 NS1\n"
	"z MX 1 ns1.example.\n"
	"z RRSIG TXT 8 2 3600 20010101000000 20200101000000 1 @ AAAA\n";
static const char tricky_nodes[] =
	"example. 0 APEX NS/3600/2+0 SOA/3600/1+0\n"
	"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. 0 - A/3600/1+0\n"
	"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. 0 NSEC3 NSEC3/3600/1+1\n"
	"1p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. 0 NSEC3 NSEC3/3600/1+0\n"
	"al.example. 0 - CNAME/3600/1+0\n"
	"alias.example. 2 CUT NS/3600/1+0\n"
	"c.example. 0 ENT\n"
	"b.c.example. 0 ENT\n"
	"a.b.c.example. 0 - TXT/3600/1+0\n"
	"d.example. 2 DNAME TXT/3600/1+0 DNAME/3600/1+0\n"
	"nosuch.example. 2 CUT NS/3600/1+0\n"
	"ns1.example. 0 - A/3600/1+0\n"
	"sub.example. 2 CUT|NSEC A/3600/1+0 NS/3600/2+0 DS/3600/1+1 NSEC/3600/1+1\n"
	"*.sub.example. 2 GLUE A/3600/1+0\n"
	"ns.sub.example. 2 GLUE A/3600/1+0\n"
	"x.sub.example. 2 GLUE|ENT\n"
	"deep.x.sub.example. 2 GLUE|ENT\n"
	"ns.deep.x.sub.example. 2 GLUE AAAA/3600/1+0\n"
	"v.example. 0 ENT|WILD\n"
	"*.v.example. 0 ENT\n"
	"a.*.v.example. 0 - TXT/3600/1+0\n"
	"w.example. 0 ENT|WILD\n"
	"!.w.example. 0 - A/3600/1+0\n"
	"*.w.example. 0 - TXT/3600/1+0\n"
	"wns.example. 0 ENT|WILD\n"
	"*.wns.example. 3 CUT NS/3600/1+0\n"
	"z.example. 0 - A/5/2+0 MX/3600/1+0 TXT/3600/0+1\n";

/* owner, cut, flags, sets as TYPE/TTL/records+signatures, a line a node.  False:
 * a body or the order is damaged. */
static bool list_nodes(struct zone *z, char *out, size_t size, uint64_t *count)
{
	static const char *const names[8] = { "APEX", "CUT", "GLUE", "ENT", "WILD", "DNAME", "NSEC3", "NSEC" };
	struct zone_cursor c;
	struct zone_node node;
	uint8_t last[NAME_MAX_LEN];
	char owner[NAME_TEXT_MAX], buf[12];
	size_t n = 0;
	bool good = zone_open(&c, z) == 0;
	for (*count = 0; zone_next(&c, &node); ++*count) {
		int order = *count ? name_cmp(last, node.owner) : -1;
		good &= order < 0 || (order == 0 && node.flags == NODE_NSEC3);
		name_lower(last, node.owner);
		good &= !memcmp(last, node.owner, name_len(last)) && (node.len > 0) == !(node.flags & NODE_ENT);
		if (n + 2048 < size) {
			n += (size_t)sprintf(out + n, "%s %u ", name_text(node.owner, owner), node.cut);
			const char *bar = "";
			for (unsigned i = 0; i < 8; i++)
				if (node.flags & 1u << i) {
					n += (size_t)sprintf(out + n, "%s%s", bar, names[i]);
					bar = "|";
				}
			if (!*bar)
				n += (size_t)sprintf(out + n, "-");
		}
		struct rd r = rd_init(node.body, node.len);
		struct rrset set;
		int type = -1;
		while (rrset_next(&r, &set)) {
			good &= set.type > type;
			type = set.type;
			if (n + 2048 < size)
				n += (size_t)sprintf(out + n, " %s/%u/%u+%u", rr_type_text(set.type, buf), set.ttl, set.nrr, set.nsig);
		}
		good &= !r.bad;
		if (n + 2048 < size)
			n += (size_t)sprintf(out + n, "\n");
	}
	out[n] = 0;
	zone_close(&c);
	return good;
}

static void test_nodes(void)
{
	static struct said s;
	static char got[1 << 16];
	uint64_t count;
	struct zone *z = load("example.", tricky, sizeof tricky - 1, &s);
	ok(z != NULL, "the tricky zone loads");
	if (!z)
		return;
	bool good = list_nodes(z, got, sizeof got, &count);
	ok(good && zone_names(z) == count && zone_serial(z) == 1, "its bodies and order are sound");
	ok(!strcmp(got, tricky_nodes), "its nodes");
	if (strcmp(got, tricky_nodes))
		printf("# got:\n%s", got);
	zone_free(z);
}

/* An apex that is a DNAME: nothing below is served, NSEC3 is. */
static void test_apex_dname(void)
{
	static struct said s;
	static char got[1 << 12];
	static const char text[] = "$TTL 60\n@ SOA n.o. h 1 2 3 4 5\n@ NS n.o.\n@ DNAME x.o.\na A 1.1.1.1\n"
		"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 0 - 2vptu5timamqttgl4luu9kg21e0aor3s A\n";
	uint64_t count;
	struct zone *z = load("example.", text, sizeof text - 1, &s);
	bool good = z && list_nodes(z, got, sizeof got, &count);
	ok(good && !strcmp(got, "example. 1 APEX|DNAME NS/60/1+0 SOA/60/1+0 DNAME/60/1+0\n"
	                        "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. 0 NSEC3 NSEC3/60/1+0\n"), "a DNAME at the apex");
	zone_free(z);
}

/* The same records in any order make the same zone. */
static void test_order(void)
{
	enum { N = 5000, LINE = 64 };
	static struct said s;
	static char a[1 << 18], b[1 << 18];
	char *lines = malloc(N * LINE), *text = malloc(N * LINE + 200);
	uint64_t count[2], seed = 1;
	for (unsigned i = 0; i < N; i++)
		snprintf(lines + i * LINE, LINE, "%s%x.%c%x%s A 10.%u.%u.%u\n", i % 3 ? "x" : "commonprefix", i * 7919 % 1009,
		         "aA*-\\"[i % 4], i % 13, i % 2 ? "" : ".\\000", i % 5, i / 256 % 256, i % 256);
	for (unsigned round = 0; round < 2; round++) {
		size_t n = (size_t)sprintf(text, "%s", APEX);
		for (unsigned i = 0; i < N; i++)
			n += (size_t)sprintf(text + n, "%s", lines + i * LINE);
		struct zone *z = load("example.", text, n, &s);
		bool good = z && list_nodes(z, round ? b : a, sizeof a, &count[round]);
		ok(good, "%u records, round %u: %s", N, round, s.text);
		zone_free(z);
		for (unsigned i = N; i-- > 1;) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			size_t j = (seed >> 33) % (i + 1);
			char keep[LINE];
			memcpy(keep, lines + i * LINE, LINE);
			memcpy(lines + i * LINE, lines + j * LINE, LINE);
			memcpy(lines + j * LINE, keep, LINE);
		}
	}
	ok(count[0] == count[1] && !strcmp(a, b), "shuffled records make the same zone");
	free(lines);
	free(text);
}

/* RFC 8976 appendix A. */
static const char zonemd_a1[] =
	"example. 86400 IN SOA ns1 admin 2018031900 ( 1800 900 604800 86400 )\n"
	"         86400 IN NS ns1\n         86400 IN NS ns2\n"
	"         86400 IN ZONEMD 2018031900 1 1 ( c68090d90a7aed71 6bc459f9340e3d7c\n"
	"   1370d4d24b7e2fc3 a1ddc0b9a87153b9 a9713b3c9ae5cc27 777f98b8e730044c )\n"
	"ns1 3600 IN A 203.0.113.63\nns2 3600 IN AAAA 2001:db8::63\n";
static const char zonemd_a2[] =
	"example. 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400\n"
	" 86400 IN NS ns1\n 86400 IN NS ns2\n"
	" 86400 IN ZONEMD 2018031900 1 1 ( a3b69bad980a3504 e1cffcb0fd6397f9\n"
	"   3848071c93151f55 2ae2f6b1711d4bd2 d8b39808226d7b9d b71e34b72077f8fe )\n"
	"ns1 3600 IN A 203.0.113.63\nNS2 3600 IN AAAA 2001:db8::63\n"
	"occluded.sub 7200 IN TXT \"I'm occluded but must be digested\"\nsub 7200 IN NS ns1\n"
	"duplicate 300 IN TXT \"I must be digested just once\"\n"
	"duplicate 300 IN TXT \"I must be digested just once\"\n"
	"UPPERCASE 3600 IN TXT \"canonicalize uppercase owner names\"\n"
	"* 777 IN PTR dont-forget-about-wildcards\n"
	"mail 3600 IN MX 20 MAIL1\nmail 3600 IN MX 10 Mail2.Example.\n"
	"sortme 3600 IN AAAA 2001:db8::5:61\nsortme 3600 IN AAAA 2001:db8::3:62\n"
	"sortme 3600 IN AAAA 2001:db8::4:63\nsortme 3600 IN AAAA 2001:db8::1:65\n"
	"sortme 3600 IN AAAA 2001:db8::2:64\n"
	"non-apex 900 IN ZONEMD 2018031900 1 1 ( 616c6c6f77656420 6275742069676e6f\n"
	"   7265642e20616c6c 6f77656420627574 2069676e6f726564 2e20616c6c6f7765 )\n";
#define A3_384 "62e6cf51b02e54b9b5f967d547ce43136792901f9f88e637493daaf401c92c279dd10f0edb1c56f8080211f8480ee306"
#define A3_512 "08cfa1115c7b948c4163a901270395ea226a930cd2cbcf2fa9a5e6eb85f37c8a4e114d884e66f176eab121cb02db7d652e0cc4827e7a3204f166b47e5613fd27"
#define A3_HEAD "example. 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400\n" \
	" 86400 IN NS ns1\n 86400 IN NS ns2\n"
#define A3_TAIL " 86400 IN ZONEMD 2018031900 1 240 e2d523f654b9422a96c5a8f44607bbee\n" \
	" 86400 IN ZONEMD 2018031900 241 1 e1846540e33a9e4189792d18d5d131f605fc283e\n" \
	"ns1 3600 IN A 203.0.113.63\nns2 86400 IN TXT \"This example has multiple digests\"\n" \
	"NS2.EXAMPLE. 3600 IN AAAA 2001:db8::63\n"

static void test_zonemd(void)
{
	static struct said s;
	static const struct { const char *title, *text; bool fits; } cases[] = {
		{ "A.1, simple", zonemd_a1, true },
		{ "A.2, complex (without its record outside the zone)", zonemd_a2, true },
		{ "A.3, SHA-384 and SHA-512", A3_HEAD " 86400 IN ZONEMD 2018031900 1 1 " A3_384 "\n"
		  " 86400 IN ZONEMD 2018031900 1 2 " A3_512 "\n" A3_TAIL, true },
		{ "A.3, SHA-512 alone", A3_HEAD " 86400 IN ZONEMD 2018031900 1 2 " A3_512 "\n" A3_TAIL, true },
		{ "A.3, its SHA-384 twice", A3_HEAD " 86400 IN ZONEMD 2018031900 1 1 " A3_384 "\n"
		  " 86400 IN ZONEMD 2018031900 1 1 00" A3_384 "\n" A3_TAIL, false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct zone *z = load("example.", cases[i].text, strlen(cases[i].text), &s);
		ok(!z == !cases[i].fits, "ZONEMD: RFC 8976 %s %s", cases[i].title, s.text);
		zone_free(z);
	}
	char *changed = strdup(zonemd_a1);
	strstr(changed, "::63")[2] = '7';
	struct zone *z = load("example.", changed, strlen(changed), &s);
	ok(!z && strstr(s.text, "error (memory):4: ZONEMD: the digest does not fit"), "ZONEMD: a changed zone: %s", s.text);
	zone_free(z);
	free(changed);
}

/* Every beginning of a rich text is read without harm. */
static void test_truncation(void)
{
	static struct said s;
	static struct out o;
	size_t n = 0;
	char *text = malloc(1 << 16);
	n += (size_t)sprintf(text + n, "%s", APEX "$ORIGIN sub\n$GENERATE 1-3 ${0,3,x} 1h IN A 10.0.0.${1}\n");
	for (size_t i = 0; i < sizeof types / sizeof *types && n < 5000; i++) {
		char buf[12];
		if (strlen(types[i].text) < 200)
			n += (size_t)sprintf(text + n, "o%zu ( %s\n %s ) ; %zu\n", i, rr_type_text(types[i].type, buf),
			                     types[i].text, i);
	}
	n += (size_t)sprintf(text + n, "%s", tricky + 6);
	for (size_t cut = 0; cut < n; cut++) {
		char *part = malloc(cut + 1); /* so that a sanitizer sees a step too far */
		memcpy(part, text, cut);
		if (cut % 7 == 0 || cut < 2000) {
			struct zone *z = load("example.", part, cut, &s);
			zone_free(z);
		} else {
			read_text(part, cut, &o, &s);
		}
		free(part);
	}
	ok(true, "every beginning of %zu octets", n);
	free(text);
}

static void test_root(void)
{
	static struct said s;
	static char got[1 << 12];
	const char *path = getenv("ROOT_ZONE");
	uint64_t count;
	struct zone_report report = { hear, &s, NULL };
	if (!path) {
		ok(true, "the root zone # SKIP ROOT_ZONE is not set");
		return;
	}
	struct zone *z = zone_load((const uint8_t *)"", path, &report);
	bool good = z && list_nodes(z, got, sizeof got, &count);
	ok(good && zone_records(z) > 20000 && zone_serial(z) > 2000000000 && s.warnings == 1,
	   "the root zone: %s", s.text);
	zone_free(z);
}

/* ---- the records of a file, for tests/interop/rdata.t ---- */

static void complain(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	(void)ctx;
	fprintf(stderr, "%s:%u: %s: %s\n", file ? file : "-", line, error ? "error" : "warning", text);
}

static const char *dump_rr(void *ctx, const struct master_rr *rr)
{
	(void)ctx;
	printf("%u %u ", rr->line, rr->type);
	for (unsigned i = 0; i < rr->len; i++)
		printf("%02x", rr->rdata[i]);
	printf("\n");
	return NULL;
}

static int dump(const char *path)
{
	struct zone_report report = { complain, NULL, NULL };
	struct master_sink sink = { dump_rr, NULL, &report };
	return master_read(path, example(), &sink) ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return dump(argv[1]);
	test_types();
	test_whole();
	test_fold();
	test_mnemonics();
	test_wrong();
	test_grammar();
	test_files();
	test_zones();
	test_spilled_zones();
	test_nodes();
	test_apex_dname();
	test_order();
	test_zonemd();
	test_truncation();
	test_root();
	return tap_done();
}
