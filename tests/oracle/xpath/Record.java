// Makes XPath expressions and documents from a seed, evaluates them with Jaxen on Axiom and writes
// what came out. See README.md for how to run it and for the format.

import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;
import javax.xml.stream.XMLInputFactory;
import org.apache.axiom.om.OMAttribute;
import org.apache.axiom.om.OMContainer;
import org.apache.axiom.om.OMDocument;
import org.apache.axiom.om.OMElement;
import org.apache.axiom.om.OMNode;
import org.apache.axiom.om.impl.builder.StAXOMBuilder;
import org.jaxen.Context;
import org.jaxen.ContextSupport;
import org.jaxen.JaxenException;
import org.jaxen.JaxenHandler;
import org.jaxen.SimpleNamespaceContext;
import org.jaxen.VariableContext;
import org.jaxen.XPathFunctionContext;
import org.jaxen.expr.XPathExpr;
import org.jaxen.saxpath.SAXPathException;
import org.jaxen.saxpath.XPathReader;
import org.jaxen.saxpath.helpers.XPathReaderFactory;

public class Record {
    static final String OM = "<r k=\"z\"><v>1</v><v>2</v>t<w><v>3</v></w></r>";

    /** A document, its nodes by number, and the element that expressions start from. */
    static final class Tree {
        final IdentityHashMap<Object, String> numbers = new IdentityHashMap<>();
        OMDocument document;
        OMElement root;

        Tree(String xml, boolean withDocument, String prefix) throws Exception {
            XMLInputFactory factory = XMLInputFactory.newInstance();
            factory.setProperty(XMLInputFactory.IS_COALESCING, false);
            factory.setProperty("http://java.sun.com/xml/stream/properties/report-cdata-event", true);
            StAXOMBuilder builder = new StAXOMBuilder(factory.createXMLStreamReader(new StringReader(xml)));
            document = builder.getDocument();
            root = document.getOMDocumentElement();
            root.build();
            int[] next = {0};
            if (withDocument) {
                while (!builder.isCompleted()) {
                    builder.next();
                }
                number(document, prefix, next);
            } else {
                root.detach();
                next[0] = 1;
                number(root, prefix, next);
            }
        }

        void number(Object node, String prefix, int[] next) {
            numbers.put(node, prefix + next[0]++);
            if (node instanceof OMContainer) {
                for (OMNode c = ((OMContainer) node).getFirstOMChild(); c != null; c = c.getNextOMSibling()) {
                    number(c, prefix, next);
                }
            }
        }
    }

    static Tree om;
    static final Map<String, Object> VARIABLES = new TreeMap<>();

    static String show(Tree tree, Object node) throws Exception {
        if (node == null) {
            return "null";
        }
        String number = tree.numbers.getOrDefault(node, om.numbers.get(node));
        if (number != null) {
            return number;
        }
        if (node instanceof OMAttribute) {
            OMAttribute a = (OMAttribute) node;
            OMElement owner = a.getOwner();
            String uri = a.getNamespace() == null ? "" : a.getNamespace().getNamespaceURI();
            return show(tree, owner) + "@" + (uri.isEmpty() ? "" : "{" + uri + "}") + a.getLocalName();
        }
        if (node instanceof Navigator.Binding) {
            Navigator.Binding binding = (Navigator.Binding) node;
            return show(tree, binding.owner) + "#" + binding.uri;
        }
        return "?" + node.getClass().getSimpleName() + ":" + node;
    }

    static String evaluate(Tree tree, String expression) throws Exception {
        XPathExpr compiled;
        try {
            XPathReader reader = XPathReaderFactory.createReader();
            JaxenHandler handler = new JaxenHandler();
            handler.setXPathFactory(new Relation.Factory());
            reader.setXPathHandler(handler);
            reader.parse(expression);
            compiled = handler.getXPathExpr();
        } catch (SAXPathException | RuntimeException e) {
            return "C";
        }
        SimpleNamespaceContext namespaces = new SimpleNamespaceContext();
        namespaces.addNamespace("p", "urn:p");
        namespaces.addNamespace("q", "urn:q");
        namespaces.addNamespace("d", "urn:d");
        VariableContext variables = (uri, prefix, name) -> {
            if (prefix == null || prefix.isEmpty()) {
                if (name.equals("env")) {
                    return tree.root;
                }
                throw new org.jaxen.UnresolvableException("Variable " + name);
            }
            if (uri != null && !uri.isEmpty() || !prefix.equals("ctx")) {
                throw new org.jaxen.UnresolvableException("Variable " + name);
            }
            return VARIABLES.get(name);
        };
        Context context = new Context(
                new ContextSupport(namespaces, XPathFunctionContext.getInstance(), variables, new Navigator()));
        context.setNodeSet(Collections.singletonList(tree.root));
        Object result;
        try {
            List<?> all = compiled.asList(context);
            Object first = all.size() == 1 ? all.get(0) : null;
            result = first instanceof String || first instanceof Number || first instanceof Boolean ? first : all;
        } catch (JaxenException | RuntimeException e) {
            return "E";
        }
        if (result == null) {
            return "0";
        } else if (result instanceof Double) {
            return "n" + result;
        } else if (result instanceof Integer) {
            return "i" + result;
        } else if (result instanceof Boolean) {
            return "b" + result;
        } else if (result instanceof String) {
            return "s" + escape((String) result);
        }
        List<?> list = result instanceof List ? (List<?>) result : List.of(result);
        if (list.size() == 1 && list.get(0) == null) {
            return "0";
        }
        StringBuilder out = new StringBuilder("N");
        for (Object node : list) {
            out.append(out.length() > 1 ? " " : "").append(show(tree, node));
        }
        return out.toString();
    }

    /** What is not asked, for the reasons in README.md. */
    static boolean leftOut(String expression) {
        String bare = expression.replaceAll("'[^']*'|\"[^\"]*\"", "''");
        boolean union = bare.contains("|");
        return has(bare.replace("''", ""), "['\"]") // a literal without end
                || has(bare, "\\w:(?![\\w:*\u00e9])") // a prefix without name
                || has(bare, "\\$ctx:(?!(str|txt|blank|num|half|nan|yes|no|int|om|missing)\\b)")
                || has(bare, "\\$(ctx:om|env)(?![/\\w])") && has(bare, "\\||[\\w-]\\(|\\$ctx:om\\[|[<>]")
                || union && has(bare, "\\$ctx:missing|\\$ctx:om|@|attribute::|namespace::|\\|\\s*-")
                || has(bare, "namespace::([^/|]*\\[|.*(//|-or-self))|(@|attribute::).*(//|-or-self)");
    }

    static boolean has(String text, String pattern) {
        return Pattern.compile(pattern, Pattern.DOTALL).matcher(text).find();
    }

    static String escape(String text) {
        return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r");
    }

    public static void main(String[] args) throws Exception {
        long seed = Long.parseLong(args[0]);
        Path folder = Path.of(args[1]);
        om = new Tree(OM, false, "o");
        VARIABLES.put("str", "10");
        VARIABLES.put("txt", "abc");
        VARIABLES.put("blank", "");
        VARIABLES.put("num", 2.0);
        VARIABLES.put("half", 2.5);
        VARIABLES.put("nan", Double.NaN);
        VARIABLES.put("yes", Boolean.TRUE);
        VARIABLES.put("no", Boolean.FALSE);
        VARIABLES.put("int", 2);
        VARIABLES.put("om", om.root);
        Generate generate = new Generate(new Random(seed));
        List<String> documents = generate.documents();
        StringBuilder texts = new StringBuilder();
        List<Tree> trees = new ArrayList<>();
        for (String document : documents) {
            texts.append(escape(document)).append('\n');
            trees.add(new Tree(document.substring(1), document.charAt(0) == '/', ""));
        }
        Files.writeString(folder.resolve("documents.txt"), texts);
        Set<String> cases = new LinkedHashSet<>();
        generate.cases(documents.size(), cases);
        StringBuilder out = new StringBuilder();
        Map<Character, Integer> kinds = new TreeMap<>();
        for (String line : cases) {
            int tab = line.indexOf('\t');
            if (leftOut(line.substring(tab + 1))) {
                continue;
            }
            String result = evaluate(trees.get(Integer.parseInt(line.substring(0, tab))), line.substring(tab + 1));
            if (result.length() > 400) {
                continue;
            }
            kinds.merge(result.charAt(0), 1, Integer::sum);
            out.append(line.substring(0, tab)).append('\t').append(escape(line.substring(tab + 1))).append('\t')
                    .append(result).append('\n');
        }
        Files.writeString(folder.resolve("cases.tsv"), out);
        System.out.println(kinds);
    }
}
