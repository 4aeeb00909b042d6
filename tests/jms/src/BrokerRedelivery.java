import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;

/** A broker that delivers again, after a delay, what a client has given up. */
final class BrokerRedelivery extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.stored("").attributes("schedulerSupport=\"true\"").policies("""
                <policyEntry queue="Again.>,Once.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy queuePrefix="Dead."/></deadLetterStrategy></policyEntry>
                """).elements("""
                <plugins>
                  <redeliveryPlugin fallbackToDeadLetter="true" sendToDlqIfMaxRetriesExceeded="true">
                    <redeliveryPolicyMap><redeliveryPolicyMap><redeliveryPolicyEntries>
                      <redeliveryPolicy queue="Again.>" maximumRedeliveries="2" initialRedeliveryDelay="1000"
                        redeliveryDelay="1000"/>
                    </redeliveryPolicyEntries></redeliveryPolicyMap></redeliveryPolicyMap>
                  </redeliveryPlugin>
                </plugins>
                """);
    }

    private ActiveMQQueue q(String kind) {
        return new ActiveMQQueue(kind + "." + name());
    }

    private ActiveMQConnection impatient() throws Exception {
        return connect("jms.redeliveryPolicy.maximumRedeliveries=0");
    }

    @Test
    void a_message_comes_again_after_the_brokers_delay_until_it_is_dead() throws Exception {
        Session session = transacted(impatient());
        send(session, q("Again"), "x");
        session.commit();
        MessageConsumer consumer = session.createConsumer(q("Again"));
        take(consumer);
        session.rollback();
        for (int round = 1; round <= 2; round++) {
            long start = System.nanoTime();
            Message again = take(consumer);
            long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
            check(millis >= 700, "came after " + millis + " ms");
            equal("x", ((TextMessage) again).getText());
            equal(round + 1, deliveryCount(again));
            check(again.getJMSRedelivered(), "not redelivered");
            equal(1000L, again.getLongProperty("redeliveryDelay"));
            session.rollback();
        }
        MessageConsumer dead = auto(connect()).createConsumer(new ActiveMQQueue("Dead." + q("Again").getPhysicalName()));
        equal("x", takeText(dead));
        nothing(consumer);
    }

    @Test
    void others_are_delivered_meanwhile() throws Exception {
        Session session = transacted(impatient());
        send(session, q("Again"), "first");
        session.commit();
        MessageConsumer consumer = session.createConsumer(q("Again"));
        take(consumer);
        session.rollback();
        send(auto(connect()), q("Again"), "second");
        equal("second", takeText(consumer));
        session.commit();
        equal("first", takeText(consumer));
        session.commit();
        equal(List.of(), drain(q("Again")));
    }

    @Test
    void without_an_entry_a_message_is_dead_at_once() throws Exception {
        Session session = transacted(impatient());
        send(session, q("Once"), "x");
        session.commit();
        take(session.createConsumer(q("Once")));
        session.rollback();
        equal("x", takeText(auto(connect()).createConsumer(new ActiveMQQueue("Dead." + q("Once").getPhysicalName()))));
    }

    @Test
    void what_waits_survives_a_crash() throws Exception {
        Session session = transacted(impatient());
        send(session, q("Again"), "x");
        session.commit();
        take(session.createConsumer(q("Again")));
        session.rollback();
        // Behind the rejection.
        send(auto(connect()), q("Other"), "stored");
        settle(session);
        Broker broker = broker();
        broker.kill();
        broker.startAgain();
        MessageConsumer consumer = auto(connect()).createConsumer(q("Again"));
        equal("x", takeText(consumer));
        nothing(consumer);
    }
}
