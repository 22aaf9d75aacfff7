// `<`, `<=`, `>`, `>=` between a node-set and a boolean as Jaxen 2 has them: the node-set counts as a boolean, and the
// boolean is always the left operand. Jaxen 1.1 compares the nodes as numbers.

import java.util.List;
import org.jaxen.Context;
import org.jaxen.JaxenException;
import org.jaxen.expr.BinaryExpr;
import org.jaxen.expr.DefaultXPathFactory;
import org.jaxen.expr.Expr;

final class Relation implements BinaryExpr {
    static final class Factory extends DefaultXPathFactory {
        @Override
        public BinaryExpr createRelationalExpr(Expr left, Expr right, int operator) throws JaxenException {
            return new Relation(super.createRelationalExpr(left, right, operator));
        }
    }

    private final BinaryExpr inner;

    Relation(BinaryExpr inner) {
        this.inner = inner;
    }

    @Override
    public Object evaluate(Context context) throws JaxenException {
        Object left = inner.getLHS().evaluate(context);
        Object right = inner.getRHS().evaluate(context);
        if (left instanceof Boolean && right instanceof List) {
            return holds((Boolean) left, !((List<?>) right).isEmpty());
        }
        if (left instanceof List && right instanceof Boolean) {
            return holds((Boolean) right, !((List<?>) left).isEmpty());
        }
        return inner.evaluate(context);
    }

    private boolean holds(boolean left, boolean right) {
        int order = Boolean.compare(left, right);
        return switch (inner.getOperator()) {
            case "<" -> order < 0;
            case "<=" -> order <= 0;
            case ">" -> order > 0;
            default -> order >= 0;
        };
    }

    @Override
    public Expr getLHS() {
        return inner.getLHS();
    }

    @Override
    public Expr getRHS() {
        return inner.getRHS();
    }

    @Override
    public String getOperator() {
        return inner.getOperator();
    }

    @Override
    public String getText() {
        return inner.getText();
    }

    @Override
    public Expr simplify() {
        inner.simplify();
        return this;
    }
}
