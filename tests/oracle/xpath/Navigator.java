// Axiom's navigator with the node model of the XPath recommendation where Axiom departs from it in ways that make MI
// fail or that no message shows: see "What is not asked" in README.md.

import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.axiom.om.OMAttribute;
import org.apache.axiom.om.OMContainer;
import org.apache.axiom.om.OMElement;
import org.apache.axiom.om.OMNamespace;
import org.apache.axiom.om.OMNode;
import org.apache.axiom.om.xpath.DocumentNavigator;
import org.jaxen.UnsupportedAxisException;

final class Navigator extends DocumentNavigator {
    /** A namespace node of one element. */
    static final class Binding {
        final OMElement owner;
        final String prefix;
        final String uri;

        Binding(OMElement owner, String prefix, String uri) {
            this.owner = owner;
            this.prefix = prefix;
            this.uri = uri;
        }
    }

    /** One object per node, so that unions and sorting recognise it. */
    private final Map<OMElement, List<Binding>> bindings = new java.util.IdentityHashMap<>();

    private List<Binding> bindings(OMElement element) {
        return bindings.computeIfAbsent(element, owner -> {
            Map<String, String> found = new LinkedHashMap<>();
            for (Object at = owner; at instanceof OMElement; at = ((OMElement) at).getParent()) {
                Iterator<?> declared = ((OMElement) at).getAllDeclaredNamespaces();
                while (declared.hasNext()) {
                    OMNamespace namespace = (OMNamespace) declared.next();
                    found.putIfAbsent(namespace.getPrefix(), namespace.getNamespaceURI());
                }
            }
            found.put("xml", "http://www.w3.org/XML/1998/namespace");
            List<Binding> list = new ArrayList<>();
            found.forEach((prefix, uri) -> {
                if (!uri.isEmpty()) {
                    list.add(new Binding(owner, prefix, uri));
                }
            });
            return list;
        });
    }

    @Override
    public Iterator getNamespaceAxisIterator(Object node) {
        return node instanceof OMElement ? bindings((OMElement) node).iterator() : Collections.emptyIterator();
    }

    @Override
    public boolean isNamespace(Object node) {
        return node instanceof Binding;
    }

    @Override
    public String getNamespaceStringValue(Object node) {
        return ((Binding) node).uri;
    }

    @Override
    public String getNamespacePrefix(Object node) {
        return ((Binding) node).prefix;
    }

    @Override
    public Object getParentNode(Object node) throws UnsupportedAxisException {
        if (node instanceof Binding) {
            return ((Binding) node).owner;
        }
        return node instanceof OMAttribute ? ((OMAttribute) node).getOwner()
                : node instanceof OMNode ? ((OMNode) node).getParent() : null;
    }

    @Override
    public Object getDocumentNode(Object node) {
        Object at = node instanceof Binding ? ((Binding) node).owner
                : node instanceof OMAttribute ? ((OMAttribute) node).getOwner() : node;
        return super.getDocumentNode(at);
    }

    @Override
    public Iterator getParentAxisIterator(Object node) throws UnsupportedAxisException {
        Object parent = getParentNode(node);
        return parent == null ? Collections.emptyIterator() : List.of(parent).iterator();
    }

    /** The place of the attribute in its element: names decide the order of attributes in Jaxen. */
    @Override
    public String getAttributeQName(Object node) {
        int place = 0;
        Iterator<?> all = ((OMAttribute) node).getOwner().getAllAttributes();
        while (all.hasNext() && all.next() != node) {
            place++;
        }
        return String.format("%05d", place);
    }
}
