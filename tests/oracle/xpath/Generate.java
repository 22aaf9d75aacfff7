// The generator: documents and expressions, from a seed alone.

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;

final class Generate {
    static final String[] AXES = {
        "child", "descendant", "descendant-or-self", "parent", "ancestor", "ancestor-or-self", "self",
        "following-sibling", "preceding-sibling", "following", "preceding", "attribute", "namespace"
    };
    static final String[] TESTS = {
        "*", "node()", "text()", "comment()", "processing-instruction()", "processing-instruction('go')", "a", "b", "c",
        "p:*", "p:a", "q:b", "d:a", "x", "p:x", "xml:lang"
    };
    static final String[] STARTS = {
        "", "/", "//", "/*/", "//a/", "//b/", "//p:a/", "//d:a/", "//@x/", "//@*/", "//text()/", "//comment()/",
        "//processing-instruction()/", "//*/", "(//a|//b)/", "$ctx:om/", "$ctx:om//", "$env/", "//c[1]/", "(//c)[last()]/",
        "../", ".//", "//namespace::p/", "//*[last()]/"
    };
    static final String[] VALUES = {
        "1", "0", "-1", "2.5", "'2'", "''", "'abc'", "' 7 '", "true()", "false()", "0 div 0", "1 div 0", "-1 div 0",
        "//a", "//b", "//@x", "//none", "//text()", ".", "$ctx:str", "$ctx:txt", "$ctx:blank", "$ctx:num", "$ctx:half",
        "$ctx:nan", "$ctx:yes", "$ctx:no", "$ctx:int", "$ctx:om", "$ctx:om/v", "$ctx:missing", "//comment()", "/", "//p:a"
    };
    static final String[] OPERATORS = {"=", "!=", "<", "<=", ">", ">=", "+", "-", "*", "div", "mod", "and", "or", "|"};
    static final String[] ONE = {
        "string", "number", "boolean", "not", "count", "sum", "local-name", "namespace-uri", "string-length",
        "normalize-space", "floor", "ceiling", "round", "id", "lang", "upper-case", "lower-case"
    };
    static final String[] NONE = {
        "last", "position", "true", "false", "string", "number", "local-name", "namespace-uri", "string-length",
        "normalize-space", "boolean", "not", "count", "sum", "concat", "lang", "floor", "id"
    };
    static final String[] TWO = {
        "starts-with", "contains", "substring-before", "substring-after", "substring", "concat", "ends-with", "translate"
    };
    static final String[] STRINGS = {
        "''", "'a'", "'abc'", "'bc'", "'12345'", "' a  b '", "'\u00e9t\u00e9'", "'\ud83d\ude00x'", "\"it's\"", "'&lt;'", "'1'",
        "'true'", "'\u00a0x'", "'\u2028 y'"
    };
    static final String[] NUMBERS = {
        "0", "-0", "1", "10", "100000", "1000000", "10000000", "123456789", "1234567890123", "100000000000000000000",
        "9007199254740993", "0.1", "0.5", "0.001", "0.0001", "0.00001", "0.000000000001", "1.5", "-1.5", "2.50", ".5", "5.",
        "-.5", "0.1 + 0.2", "1 div 3", "2 div 3", "10 div 3", "1 div 7", "1000000 div 3", "1 div 3000000", "-1 div 3",
        "1 div 0", "-1 div 0", "0 div 0", "1 div -0", "-(1 div 0)", "5 mod 2", "5 mod -2", "-5 mod 2", "-5 mod -2",
        "1.5 mod 0.5", "5.5 mod 2", "1 mod 0", "(1 div 0) mod 2", "0 mod 5", "-1 mod 1", "1 - - 1", "- - 1", "--1", "1--1",
        "99999999 * 99999999", "0.1 * 3", "4.35 * 100", "1.005 * 1000", "1.1 * 1.1", "3 * 1.1", "00012", "1.0", "1.10",
        "0.30000000000000004", "12345678.9", "123456789012345678", "2147483647", "2147483648", "-2147483649", "4294967296",
        "0.1 + 0.7", "100 div 3", "1 div 1024", "1 div 81", "16777217", "33333333333333333333 div 3", "1e3", "1E3", "1.2.3"
    };
    static final String[] BROKEN = {
        "", " ", "(", ")", "()", "[", "]", "a[", "a]", "a[]", "a[1", "a[1]]", "a b", "a/", "a//", "/a/", "//", "///", "a///b",
        "/..", "/.", "..", "../..", ".", "...", "a..b", "@", "@@a", "a/@", "@a/b", "@a/..", "@*", "@node()", "*", "**", "***",
        "* * *", "2 * 3", "2*3", "*[1]", "a*b", "a * b", "a div b", "div div div", "mod mod mod", "and and and", "or or or",
        "div", "mod", "and", "or", "div and mod", "a and", "and a", "a or or b", "1 +", "+ 1", "+1", "1 + + 1", "- a", "-a", "a-b",
        "a -b", "a- b", "a - b", "a:b", "p:a", "p :a", "p: a", "p:*", "*:a", "p::a", "child::", "child::a", "child ::a",
        "child:: a", "bogus::a", "child::child::a", "self::node()", "self()", "node()", "text()", "text ( )", "comment()",
        "comment('x')", "text('x')", "node(1)", "processing-instruction()", "processing-instruction('go')",
        "processing-instruction(go)", "processing-instruction(\"go\")", "element()", "string()", "string( )", "string", "string(",
        "string)", "string(,)", "string('a',)", "concat('a',,'b')", "concat(,'a')", "concat('a' 'b')", "'a", "\"a", "'a'b", "'a''b'",
        "'a\"b'", "\"a'b\"", "$", "$ x", "$x", "$ctx:", "$ctx:str", "$ ctx:str", "$ctx :str", "$:str", "$ctx:str/a", "$ctx:str[1]",
        "$ctx:num[1]", "$ctx:num/a", "$ctx:om[1]", "$ctx:om[2]", "$ctx:om[2]/v", "$ctx:om/v[2]", "($ctx:om/v)[2]", "1[1]", "'a'[1]",
        "'a'[0]", "'a'[2]", "1[2]", "(1)[1]", "(1)[2]", "true()[1]", "true()[false()]", "1/a", "'a'/b", "true()/a", "string()/a",
        "(a)", "((a))", "(a", "a)", "(a|b)", "(a|b)[1]", "(a|b)/c", "(a|b)//c", "a|b", "a||b", "|a", "a|", "a|1", "1|a", "'a'|'b'",
        "//a|$ctx:om/v", "//a|$ctx:missing", "$ctx:missing|//a", "$ctx:missing|$ctx:missing", "a=b", "a==b", "a=", "=a", "a!=b",
        "a!b", "!a", "a<b", "a<=b", "a=<b", "a>b", "a=>b", "a<>b", "a&b", "a#b", "a;b", "a\\b", "a%b", "a^b", "a~b", "a`b", "{a}",
        "a,b", "1 2", "1 a", "a 1", "1a", "1 div2", "1div 2", "1div2", "4div 2", "4 div2", "4 mod3", "1 and1", "1 and2", "1or 2",
        "1or2", "true()and false()", "true()andfalse()", "//and", "//or", "//div", "//mod", "@and", "@div", "child::div", "p:div",
        "div div 2", "a/div", "a[div]", "(div)", "-div", "- div", "id('x')", "id(1)", "key('a','b')", "document('x')/a", "name",
        "last()", "position()", "last", "a[last]", "a[last()]", "a[position]", "a[position()]", "a[position()=1]", "a[0]", "a[-1]",
        "a[1.0]", "a[1.5]", "a['1']", "a[1][1]", "a[1][2]", "a[2][1]", "a[true()]", "a[false()]", "a['']", "a['x']", "a[b]", "a[b=1]",
        "a[.]", "a[..]", "a[/]", "a[//b]", "a[@x]", "a[@x='1']", "a[@*]", "[1]", ".[1]", "..[1]", ".[2]", "..[2]", ". [1]",
        "//.", "//..", "//@x", "//@*", "//*[@x]", "/*", "/ *", "/ a", "// a", "a / b", "a // b", "a [ 1 ]", "count ( a )",
        "count(a", "count a", "a()", "p:f()", "zz:f()", "zz:a", "zz:*", "@zz:a", "//zz:a", "//none/zz:a", "false() and zz:a",
        "true() or $nope", "false() and $nope", "false() and f()", "true() or f()", "$nope", "$p:nope", "f()", "f(1,2)",
        "\ta\n", "a\n/\r\nb", "a\u00a0", "\u00e9", "a\u00e9", "\u00e9a", "a.b", "a.1", "a_b", "_a", "a1", "-", "--", "---1", "1 - 1",
        "1 -1", "1- 1", "1-1", "a -1", "a-1", "1.a", ".a", ".5.", "5..", "1 . 2", "1.", "1. 2", ".", "0x10", "1e1", "1_000",
        "following::node()", "preceding::node()", "namespace::*", "namespace::p", "//namespace::*", "//a/namespace::*",
        "//a/namespace::node()", "//a/namespace::*/..", "//@x/..", "//@x/../@x", "//text()/..", "/descendant::a[1]", "//a[1]",
        "(//a)[1]", "/descendant-or-self::node()/a[1]", "//a[last()]", "(//a)[last()]", "//a[position()=last()]",
        "preceding-sibling::*[1]", "//c/preceding-sibling::*[1]", "//c/preceding::*[1]", "//c/ancestor::*[1]",
        "(//c/ancestor::*)[1]", "//c/ancestor-or-self::*[2]", "//c/preceding-sibling::*[last()]", "//b[2]/preceding-sibling::*",
        "//b[position()>1]", "//b[position()<last()]", "//b[position() mod 2 = 1]", "//*[count(*)=2]", "//*[count(.|../a)=count(../a)]",
        "3 > 2 > 1", "1 < 2 < 3", "1 = 1 = 1", "2 = 2 = 2", "1 != 1 != 1", "1 < 2 = true()", "true() = 1 < 2", "1 or 2 and 0",
        "0 and 1 or 1", "1 + 2 * 3", "(1 + 2) * 3", "1 - 2 - 3", "8 div 4 div 2", "-1 + 2", "-(1 + 2)", "-2 * -3", "- 2 mod 3",
        "-//a", "- (//a)", "-'3'", "-true()", "-''", "2 -- 2", "//a + 1", "//a * //b", "//none + 1"
    };

    final Random random;

    Generate(Random random) {
        this.random = random;
    }

    String pick(String... list) {
        return list[random.nextInt(list.length)];
    }

    boolean chance(int percent) {
        return random.nextInt(100) < percent;
    }

    // ---- documents: '/' in front when the document node is there, '.' when only the element is

    List<String> documents() {
        List<String> all = new ArrayList<>(Arrays.asList(
                "/<a x=\"1\"><b>1</b><b>2</b><c><b>10</b></c></a>",
                ".<a x=\"1\"><b>1</b><b>2</b><c><b>10</b></c></a>",
                "/<!--top--><?go first?><a xml:lang=\"en-GB\"><b x=\"2\" y=\"abc\">x<c/>y<!--in-->z<?go on?></b><b xml:lang=\"de\"><a>7</a> </b>"
                        + "<div>1</div><mod/><and>a</and></a><!--end-->",
                "/<p:a xmlns:p=\"urn:p\" xmlns=\"urn:d\" p:x=\"1\" x=\"2\"><a>1</a><p:a>2</p:a><q:b xmlns:q=\"urn:q\" q:x=\"3\"><b xmlns=\"\" x=\"4\">5</b>"
                        + "<p:b/></q:b><a p:x=\"6\" x=\"6\">7</a></p:a>",
                "/<a>\n  <b x='1'> 7 </b>\n  <b x='2'>abc</b>\n  <b x='3'>-3.5</b>\n  <c><b>1e3</b><b/><b>+5</b><b>0x10</b><b>.5</b><b>5.</b>"
                        + "<b>Infinity</b><b>NaN</b></c>\n</a>",
                "/<a><b>\u00e9\u00e0</b><b>\ud83d\ude00</b><c>a\u00a0b</c><b>  two  words </b><b>a&amp;b&lt;c</b><c x='&quot;\"'>it's</c></a>"
                        .replace("'&quot;\"'", "'&quot;'")));
        for (int i = 0; i < 14; i++) {
            StringBuilder out = new StringBuilder(chance(75) ? "/" : ".");
            element(out, 0, "", true);
            all.add(out.toString());
        }
        return all;
    }

    void element(StringBuilder out, int depth, String inherited, boolean root) {
        String name = pick("a", "b", "c", "a", "b", "p:a", "p:b", "q:b", "q:c");
        out.append('<').append(name);
        String scope = inherited;
        if (root) {
            out.append(" xmlns:p=\"urn:p\" xmlns:q=\"urn:q\"");
        } else if (chance(8)) {
            out.append(" xmlns:p=\"urn:q\"");
            scope += "p";
        } else if (chance(8)) {
            out.append(chance(70) ? " xmlns=\"urn:d\"" : " xmlns=\"\"");
        }
        if (chance(40)) {
            out.append(" x=\"").append(text()).append('"');
        }
        if (chance(20)) {
            out.append(" p:x=\"").append(text()).append('"');
        }
        if (chance(15)) {
            out.append(" y=\"").append(text()).append('"');
        }
        if (chance(10)) {
            out.append(" xml:lang=\"").append(pick("en", "en-US", "de", "EN", "")).append('"');
        }
        int children = depth > 4 ? 0 : random.nextInt(root ? 6 : 5) + (root ? 2 : 0);
        if (children == 0) {
            out.append("/>");
            return;
        }
        out.append('>');
        boolean text = false;
        for (int i = 0; i < children; i++) {
            int kind = random.nextInt(100);
            if (kind < 58) {
                element(out, depth + 1, scope, false);
                text = false;
            } else if (kind < 86 && !text) {
                out.append(text());
                text = true;
            } else if (kind < 93) {
                out.append("<!--").append(pick("c", "1", " ", "")).append("-->");
                text = false;
            } else {
                out.append("<?").append(pick("go", "stop")).append(' ').append(pick("on", "1")).append("?>");
                text = false;
            }
        }
        out.append("</").append(name).append('>');
    }

    String text() {
        return pick("1", "2", "2", "10", "2.5", "-3", " 7 ", "abc", "a", "true", "\u00e9", "0", "1 2", "b", "false", "12");
    }

    // ---- expressions

    void cases(int documents, Set<String> out) {
        for (String text : BROKEN) {
            out.add("0\t" + text);
            out.add((2 + random.nextInt(3)) + "\t" + text);
        }
        for (String text : NUMBERS) {
            out.add("0\t" + text);
            out.add("0\tstring(" + text + ")");
            out.add("0\tround(" + text + ")");
            out.add("0\tconcat(floor(" + text + "),'/',ceiling(" + text + "))");
            out.add("0\tnumber('" + text + "')");
        }
        for (String left : VALUES) {
            for (String right : VALUES) {
                for (int i = 0; i < 2; i++) {
                    out.add(random.nextInt(documents) + "\t" + left + " " + pick(OPERATORS) + " " + right);
                }
            }
            for (String function : ONE) {
                if (chance(60)) {
                    out.add(random.nextInt(documents) + "\t" + function + "(" + left + ")");
                }
            }
        }
        for (String function : NONE) {
            out.add("2\t" + function + "()");
            out.add("2\t//b[" + function + "()]");
        }
        for (String function : TWO) {
            for (int i = 0; i < 40; i++) {
                String second = chance(50) ? pick(STRINGS) : pick(VALUES);
                String third = chance(function.equals("substring") || function.equals("translate") ? 75 : 15)
                        ? "," + (chance(50) ? pick(STRINGS) : pick(VALUES)) : "";
                out.add("5\t" + function + "(" + pick(STRINGS) + "," + second + third + ")");
            }
        }
        for (int i = 0; i < 120; i++) {
            out.add("5\tsubstring(" + pick("'12345'", "'\ud83d\ude00abc'", "//b[1]", "''") + "," + pick(NUMBERS)
                    + (chance(70) ? "," + pick(NUMBERS) : "") + ")");
        }
        for (String axis : AXES) {
            for (String test : TESTS) {
                for (int i = 0; i < 4; i++) {
                    String predicate = chance(50) ? "" : "[" + position() + "]";
                    out.add(random.nextInt(documents) + "\t" + pick(STARTS) + axis + "::" + test + predicate);
                }
            }
        }
        for (int i = 0; i < 2200; i++) {
            out.add(random.nextInt(documents) + "\t" + any(3));
        }
        for (int i = 0; i < 350; i++) {
            out.add(random.nextInt(documents) + "\t" + damage(any(2)));
        }
    }

    String position() {
        return pick("1", "2", "3", "last()", "last() - 1", "position() = 2", "position() < 3", "position() > 1",
                "position() != last()", "position() mod 2 = 0", "0", "1.5", "'x'", "true()", "count(*)", "@x", ". = 2", "-1");
    }

    String any(int depth) {
        return switch (random.nextInt(10)) {
            case 0, 1, 2, 3, 4 -> nodes(depth);
            case 5, 6 -> bool(depth);
            case 7 -> string(depth);
            case 8 -> number(depth);
            default -> "count(" + nodes(depth) + ")";
        };
    }

    String nodes(int depth) {
        if (depth <= 0) {
            return pick("a", "b", "//a", "//b", "//c", "*", "@x", "//@x", ".", "..", "text()", "//p:a", "$ctx:om/v", "//text()");
        }
        if (chance(12)) {
            return "(" + nodes(depth - 1) + " | " + nodes(depth - 1) + ")";
        }
        if (chance(12)) {
            return "(" + nodes(depth - 1) + ")[" + predicate(depth - 1) + "]" + (chance(50) ? "/" + step(depth - 1) : "");
        }
        StringBuilder out = new StringBuilder(pick("", "/", "//", "//", "", "$ctx:om/", "$env/", ".//"));
        int steps = 1 + random.nextInt(3);
        for (int i = 0; i < steps; i++) {
            out.append(i > 0 ? pick("/", "/", "/", "//") : "").append(step(depth - 1));
        }
        return out.toString();
    }

    String step(int depth) {
        StringBuilder out = new StringBuilder(switch (random.nextInt(10)) {
            case 0, 1, 2 -> pick(AXES) + "::" + pick(TESTS);
            case 3 -> pick(AXES) + "::" + pick("*", "node()", "a", "b");
            case 4 -> pick("@x", "@*", "@p:x", "@y");
            case 5 -> pick(".", "..");
            case 6 -> pick("text()", "node()", "comment()");
            default -> pick("a", "b", "c", "*", "p:a", "q:b", "d:a", "v");
        });
        boolean short_ = out.charAt(0) == '.';
        for (int i = 0; i < 2 && !short_; i++) {
            if (chance(i == 0 ? 40 : 15)) {
                out.append('[').append(predicate(depth)).append(']');
            }
        }
        return out.toString();
    }

    String predicate(int depth) {
        if (depth <= 0 || chance(45)) {
            return position();
        }
        return chance(60) ? bool(depth - 1) : any(depth - 1);
    }

    String bool(int depth) {
        if (depth <= 0) {
            return pick("true()", "false()", "@x", "b", "a = 2", "@x = '2'", ". = 1", "position() = 1", "$ctx:yes");
        }
        return switch (random.nextInt(8)) {
            case 0 -> "not(" + any(depth - 1) + ")";
            case 1 -> "boolean(" + any(depth - 1) + ")";
            case 2 -> pick("contains", "starts-with", "ends-with") + "(" + string(depth - 1) + ", " + string(depth - 1) + ")";
            case 3 -> bool(depth - 1) + pick(" and ", " or ") + bool(depth - 1);
            case 4 -> "lang('" + pick("en", "de", "EN-us", "e", "") + "')";
            default -> any(depth - 1) + pick(" = ", " != ", " < ", " <= ", " > ", " >= ") + any(depth - 1);
        };
    }

    String string(int depth) {
        if (depth <= 0) {
            return chance(60) ? pick(STRINGS) : pick("$ctx:str", "$ctx:txt", "string()", "//a", "@x");
        }
        return switch (random.nextInt(9)) {
            case 0 -> "string(" + any(depth - 1) + ")";
            case 1 -> "concat(" + any(depth - 1) + ", '-', " + any(depth - 1) + ")";
            case 2 -> "substring(" + string(depth - 1) + ", " + number(depth - 1) + (chance(50) ? ", " + number(depth - 1) : "") + ")";
            case 3 -> pick("substring-before", "substring-after") + "(" + string(depth - 1) + ", " + string(depth - 1) + ")";
            case 4 -> "normalize-space(" + string(depth - 1) + ")";
            case 5 -> "translate(" + string(depth - 1) + ", " + string(0) + ", " + string(0) + ")";
            case 6 -> pick("local-name", "namespace-uri") + "(" + nodes(depth - 1) + ")";
            case 7 -> pick("upper-case", "lower-case") + "(" + string(depth - 1) + ")";
            default -> pick(STRINGS);
        };
    }

    String number(int depth) {
        if (depth <= 0) {
            return pick("0", "1", "2", "3", "2.5", "-1", "last()", "position()", "$ctx:num", "$ctx:half", "10");
        }
        return switch (random.nextInt(8)) {
            case 0 -> "count(" + nodes(depth - 1) + ")";
            case 1 -> "sum(" + nodes(depth - 1) + ")";
            case 2 -> "number(" + any(depth - 1) + ")";
            case 3 -> "string-length(" + string(depth - 1) + ")";
            case 4 -> pick("floor", "ceiling", "round") + "(" + number(depth - 1) + ")";
            case 5 -> "-" + number(depth - 1);
            case 6 -> "(" + number(depth - 1) + ")" + pick(" + ", " - ", " * ", " div ", " mod ") + number(depth - 1);
            default -> any(depth - 1) + pick(" + ", " - ", " * ", " div ", " mod ") + number(depth - 1);
        };
    }

    /** Takes a character out, doubles it, or puts another in. */
    String damage(String text) {
        int at = random.nextInt(text.length());
        if (Character.isSurrogate(text.charAt(at))) {
            return text;
        }
        String before = text.substring(0, at);
        String after = text.substring(at + 1);
        return switch (random.nextInt(3)) {
            case 0 -> before + after;
            case 1 -> before + text.charAt(at) + text.charAt(at) + after;
            default -> before + pick("(", ")", "[", "]", "/", ":", "@", "$", "'", "*", "-", "=", " ", ",", "|", ".", "1", "a") + after;
        };
    }
}
